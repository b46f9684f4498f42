//! The fault server as a program, for tests in other languages.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use regrip_faultd::{Options, Pages, Script, ScriptError, Server, TlsIdentity};

const HELP: &str = "\
An HTTP server that misbehaves on purpose, by script.

usage: regrip-faultd [--listen ADDR] [--script FILE|-] [--tls self-signed|expired] [--cert-out FILE] [--pages PATH=DIR]...

  --listen ADDR    address and port, port 0 takes a free one (default 127.0.0.1:0)
  --script FILE    the script as JSON; - reads it from standard input to its end
  --tls KIND       speak TLS with a certificate that is made now: self-signed or expired
  --cert-out FILE  write that certificate there as PEM
  --pages PATH=DIR serve the files of a folder at a path, /app/=DIR: the page of a test in a browser
  --help           this text

The first line on standard output is `listening on http://127.0.0.1:PORT`. It runs until it is killed.
Without a script it serves /random/SIZE and what is posted to /_faultd/script later.
Exit codes: 2 for bad arguments or a bad script, 1 for everything else.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regrip-faultd: {error}");
            error.exit_code()
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let script = arguments.script.as_deref().map_or(Ok(Script::new()), read_script)?;
    let tls = arguments.tls.map(make_identity).transpose()?;
    if let (Some(path), Some(identity)) = (&arguments.cert_out, &tls) {
        std::fs::write(path, identity.certificate_pem()).map_err(|error| Failure::Io(format!("{path}: {error}")))?;
    }
    let (listen, pages) = (arguments.listen, arguments.pages);
    let server = Server::start_with(Options { listen, tls, pages }, script)
        .map_err(|error| Failure::Io(format!("{listen}: {error}")))?;
    let mut out = io::stdout();
    writeln!(out, "listening on {}", server.origin())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Io(format!("standard output: {error}")))?;
    loop {
        // The server has its own threads; this one only keeps the process.
        thread::park();
    }
}

/// What was asked for on the command line.
struct Arguments {
    listen: SocketAddr,
    script: Option<String>,
    tls: Option<Certificate>,
    cert_out: Option<String>,
    pages: Pages,
}

/// Which certificate to make.
#[derive(Clone, Copy)]
enum Certificate {
    SelfSigned,
    Expired,
}

impl Arguments {
    /// Reads the arguments; none if help was asked for.
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut arguments = Self {
            listen: Options::default().listen,
            script: None,
            tls: None,
            cert_out: None,
            pages: Pages::default(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| Failure::Usage(format!("{word} needs a value")));
            match word.as_str() {
                "--listen" => {
                    let address = value()?;
                    arguments.listen =
                        address.parse().map_err(|_| Failure::Usage(format!("`{address}` is not ADDRESS:PORT")))?;
                }
                "--script" => arguments.script = Some(value()?),
                "--tls" => arguments.tls = Some(certificate(&value()?)?),
                "--cert-out" => arguments.cert_out = Some(value()?),
                "--pages" => arguments.pages = with_folder(arguments.pages, &value()?)?,
                "--help" | "-h" => return Ok(None),
                _ => {
                    return Err(Failure::Usage(format!("unknown argument `{word}` (see --help)")));
                }
            }
        }
        if arguments.cert_out.is_some() && arguments.tls.is_none() {
            return Err(Failure::Usage("--cert-out needs --tls".to_owned()));
        }
        Ok(Some(arguments))
    }
}

fn with_folder(pages: Pages, value: &str) -> Result<Pages, Failure> {
    match value.split_once('=') {
        Some((at, folder)) if at.starts_with('/') && at.ends_with('/') => Ok(pages.folder(at, Path::new(folder))),
        _ => Err(Failure::Usage(format!("`{value}` is not /PATH/=FOLDER"))),
    }
}

fn certificate(kind: &str) -> Result<Certificate, Failure> {
    match kind {
        "self-signed" => Ok(Certificate::SelfSigned),
        "expired" => Ok(Certificate::Expired),
        _ => Err(Failure::Usage(format!("`{kind}` is neither self-signed nor expired"))),
    }
}

fn make_identity(kind: Certificate) -> Result<TlsIdentity, Failure> {
    let made = match kind {
        Certificate::SelfSigned => TlsIdentity::self_signed(),
        Certificate::Expired => TlsIdentity::expired(),
    };
    made.map_err(|error| Failure::Io(format!("certificate: {error}")))
}

/// Reads the script from a file, or from standard input if the name is `-`.
fn read_script(source: &str) -> Result<Script, Failure> {
    let text = if source == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(source)
    };
    let text = text.map_err(|error| Failure::Io(format!("{source}: {error}")))?;
    Script::from_json(&text).map_err(|error| Failure::Script { source: source.to_owned(), error })
}

/// Why the program ends.
enum Failure {
    /// The arguments.
    Usage(String),
    /// The script.
    Script { source: String, error: ScriptError },
    /// The world.
    Io(String),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) | Failure::Script { .. } => ExitCode::from(2),
            Failure::Io(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Io(text) => f.write_str(text),
            Failure::Script { source, error } => write!(f, "{source}: {error}"),
        }
    }
}
