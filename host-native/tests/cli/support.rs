//! A folder, a fault server and the binary.

use regrip_faultd::{Content, Options, Script, Server, TlsIdentity};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// What names a proxy: nothing of the machine's own, so that every test is the same everywhere.
const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// The binary in a folder of its own, with a state file of its own.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) server: Server,
}

impl Bench {
    pub(crate) fn serving(script: Script) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(script).expect("a free port");
        Bench { folder, server }
    }

    /// The same behind TLS; the certificate lies in the folder as `ca.pem`.
    pub(crate) fn serving_tls(script: Script) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let identity = TlsIdentity::self_signed().expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), identity.certificate_pem()).expect("written");
        let options = Options { tls: Some(identity), ..Options::default() };
        let server = Server::start_with(options, script).expect("a free port");
        Bench { folder, server }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `regrip get` with these arguments, in the folder. Waits are short unless the arguments say otherwise.
    pub(crate) fn get(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("get").args(arguments);
        if !arguments.contains(&"--retry-base-ms") {
            command.args(["--retry-base-ms", "0"]);
        }
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
        command
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("REGRIP_API_KEY")
            .env_remove("LANG")
            .env_remove("LC_ALL")
            .env_remove("LC_CTYPE")
            .stdin(Stdio::null());
        for name in PROXY_VARIABLES {
            command.env_remove(name);
            command.env_remove(name.to_uppercase());
        }
        command
    }

    /// `regrip` with these arguments, in the folder, on its state file.
    pub(crate) fn regrip(&self, arguments: &[&str]) -> Ran {
        let mut command = self.regrip_command(arguments);
        Ran::of(command.output().expect("regrip runs"))
    }

    /// The same, to be run.
    pub(crate) fn regrip_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.get(arguments).output().expect("regrip runs"))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.get(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("regrip starts")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The names in the folder, the state left out.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name != "state").collect();
        names.sort();
        names
    }

    pub(crate) fn assert_is(&self, name: &str, content: Content) {
        let bytes = std::fs::read(self.path(name)).expect("the file is there");
        assert_eq!(bytes.len() as u64, content.size, "length of {name}");
        assert!(bytes == content.bytes(0..content.size), "{name} differs from its source");
    }

    /// First byte asked for, by each request of a path.
    pub(crate) fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let log = self.server.log();
        log.into_iter().filter(|entry| entry.path == path).map(|entry| entry.range).collect()
    }
}

/// `regrip` with these arguments, anywhere.
pub(crate) fn regrip(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.env_remove("HOME").env_remove("XDG_CONFIG_HOME");
    Ran::of(command.args(arguments).output().expect("regrip runs"))
}

/// Length of a file, 0 if there is none.
pub(crate) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// The names of the events, progress left out.
    pub(crate) fn story(&self) -> Vec<String> {
        let names = self.events().into_iter().map(|event| event["event"].as_str().unwrap_or("?").to_owned());
        names.filter(|name| name != "progress").collect()
    }
}
