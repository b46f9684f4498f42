//! The README's commands, as they stand there.

use crate::house::wait_until;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The shell's lines below a heading.
fn commands(heading: &str) -> String {
    let page = include_str!("../../../README.md");
    let below = page.split(heading).nth(1).expect("the heading is there");
    let block = below.split("```sh\n").nth(1).expect("there are commands");
    block.split("```").next().expect("they end").to_owned()
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port().to_string()
}

/// A shell and all it began: a group of its own, ended together.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "TERM", "--", &group]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn from_nothing_to_the_first_film_in_five_commands() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = commands("## Run a server beside Radarr and Sonarr\n");
    // Ports of this test's own, in place of the defaults.
    let (api, share) = (free_port(), free_port());
    let script = script
        .replace("regrip share friend", "regrip share friend --listen 127.0.0.1:5226")
        .replace(r#""dataDir": "data""#, &format!(r#""dataDir": "data", "listen": "127.0.0.1:{api}""#))
        .replace("5226", &share);
    let binary = Path::new(env!("CARGO_BIN_EXE_regrip"));
    let path =
        format!("{}:{}", binary.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    let shell = Command::new("sh")
        .args(["-ec", &format!("{script}\nwait")])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("no_proxy", "*")
        .env("XDG_STATE_HOME", folder.path().join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn();
    let _shell = Shell(shell.expect("there is a shell"));
    let film = folder.path().join("completed/Film (2020).mkv");
    wait_until("the film is there", || film.exists());
    let stub = folder.path().join("watch/Film.torrent");
    wait_until("the stub is gone", || !stub.exists());
    let source = folder.path().join("friend/Film (2020).mkv");
    let (film, source) = (std::fs::read(film), std::fs::read(source));
    assert!(film.expect("it is there") == source.expect("it is there"));
}

#[test]
fn the_unit_of_systemd_is_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = include_str!("../../../examples/regrip.service");
    // The program must be there, and the user is not.
    let unit = unit
        .replace("/usr/local/bin/regrip", env!("CARGO_BIN_EXE_regrip"))
        .replace("User=regrip", "User=root")
        .replace("Group=regrip", "Group=root");
    let path = folder.path().join("regrip.service");
    std::fs::write(&path, unit).expect("written");
    let Ok(ran) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        eprintln!("systemd-analyze is not here: the unit is not verified");
        return;
    };
    let told = String::from_utf8_lossy(&ran.stderr);
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("regrip.service")).collect();
    assert!(ours.is_empty(), "{told}");
}
