//! `regrip demo --web` as it is typed. What the page does is tested in Chromium, in `host-wasm/tests/chromium`.

use crate::support::Ran;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command
        .current_dir(folder)
        .args(["demo", "--web"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What there is of a checkout, with these files in `host-wasm`.
fn checkout(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in files {
        let path = folder.path().join("host-wasm").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, *name).expect("written");
    }
    folder
}

/// Status line, headers and body of an answer.
fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[test]
fn the_page_the_package_and_the_breaking_server_are_at_one_address() {
    let folder = checkout(&["demo/index.html", "pkg/web.js"]);
    let below = folder.path().join("host-wasm/demo");
    let mut child = command(&below, &["--listen", "127.0.0.1:0"]).spawn().expect("regrip starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    let address = line
        .trim_end()
        .strip_prefix("the demo page is at http://")
        .and_then(|rest| rest.strip_suffix('/'))
        .expect("the line names the address")
        .to_owned();

    let page = ask(&address, "GET", "/", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("demo/index.html"), "{page}");
    assert!(page.contains("'wasm-unsafe-eval'"), "{page}");
    assert!(ask(&address, "GET", "/pkg/web.js", "").ends_with("pkg/web.js"));
    assert!(ask(&address, "GET", "/pkg/../../secret", "").starts_with("HTTP/1.1 404"));

    let script = r#"{"files": {"/films/a": {"versions": [{"seed": 1, "size": 3}]}}}"#;
    assert!(ask(&address, "POST", "/_faultd/script", script).starts_with("HTTP/1.1 200"));
    assert!(ask(&address, "HEAD", "/films/a", "").contains("Content-Length: 3"));

    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_is_missing_is_exit_2_and_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let whole = ["demo/index.html", "pkg/web.js"];
    let table: [(&[&str], &[&str], &str); 5] = [
        (&[], &[], "run this command in a checkout"),
        (&["pkg/web.js"], &[], "run this command in a checkout"),
        (&["demo/index.html"], &[], "host-wasm/build"),
        (&whole, &["--listen", "0.0.0.0:0"], "for this machine only"),
        (&whole, &["--listen", &taken], "name another address"),
    ];
    for (files, arguments, wanted) in table {
        let folder = checkout(files);
        let output = command(folder.path(), arguments).output();
        let ran = Ran::of(output.expect("regrip runs"));
        assert_eq!(ran.code, Some(2), "{files:?} {arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{files:?} {arguments:?}: {}", ran.err);
    }
}
