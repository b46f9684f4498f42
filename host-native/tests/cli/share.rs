//! `regrip share` as it is typed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    command_with(folder, "state.db", arguments)
}

fn command_with(folder: &Path, state: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command
        .current_dir(folder)
        .args(["share", "--state", state])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("films")).expect("a folder");
    std::fs::write(folder.path().join("films/film.mkv"), "film").expect("written");
    std::fs::write(folder.path().join("films/CON"), "device").expect("written");
    folder
}

/// The line with the address it listens on.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let out = child.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    line
}

#[test]
fn it_says_what_it_shares_and_where_and_sigterm_ends_it_with_0() {
    let folder = folder();
    let mut child = command(folder.path(), &["films", "--listen", "127.0.0.1:0"]).spawn().expect("regrip starts");
    let line = first_line(&mut child);
    assert!(line.starts_with("sharing 1 file, 4 B, at http://127.0.0.1:"), "{line}");
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    assert_eq!(err, "regrip: 1 file left out: peers refuse such a name\n");
}

/// The status of a request for `/handshake` with a key.
fn status(line: &str, key: &str) -> Option<String> {
    let address = line.trim().rsplit("http://").next()?;
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!("GET /handshake HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: {key}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply.split(' ').nth(1).map(str::to_owned)
}

#[test]
fn keys_come_from_a_file_or_a_variable_and_are_shown_nowhere() {
    let folder = folder();
    std::fs::write(folder.path().join("keys"), "# friend\nsecret-one\n").expect("written");
    let listen = ["films", "--listen", "127.0.0.1:0"];
    let table = [
        (["--key-file", "keys"], "secret-one"),
        (["--key-env", "FRIEND"], "#secret-one"),
        (["--key-env", "FRIENDS"], "secret-one"),
    ];
    for (extra, key) in table {
        let mut child = command(folder.path(), &[&listen[..], &extra].concat())
            .env("FRIEND", "#secret-one")
            .env("FRIENDS", "# friends\nsecret-one\nsecret-three\n")
            .spawn()
            .expect("regrip starts");
        let line = first_line(&mut child);
        assert_eq!(status(&line, key).as_deref(), Some("200"), "{extra:?}");
        assert_eq!(status(&line, "secret-two").as_deref(), Some("401"));
        assert_eq!(status(&line, "").as_deref(), Some("401"));
        assert!(!line.contains("secret"));
        child.kill().expect("killed");
        let output = child.wait_with_output().expect("ended");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("wrong keys address=127.0.0.1 count=1"), "{err}");
        assert!(!err.contains("secret"), "{err}");
    }
}

#[test]
fn sighup_reads_the_keys_again_and_a_key_file_that_is_wrong_changes_nothing() {
    let folder = folder();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "key-one\n").expect("written");
    let arguments = ["films", "--listen", "127.0.0.1:0", "--key-file", "keys"];
    let mut child = command(folder.path(), &arguments).spawn().expect("regrip starts");
    let line = first_line(&mut child);
    let address = line.trim().rsplit('/').next().expect("an address");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut next = String::new();
    said.read_line(&mut next).expect("what is left out");
    // Hands a line of the log to each SIGHUP.
    let mut hang_up = || {
        let pid = child.id().to_string();
        let killed = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(killed.expect("kill runs").success());
        let mut line = String::new();
        // The log says that a wrong key was tried, too.
        while !line.starts_with("regrip: ") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("a line"), 0);
        }
        line
    };
    assert_eq!(status(address, "key-one").as_deref(), Some("200"));
    std::fs::write(&keys, "key-two\n").expect("written");
    assert_eq!(hang_up(), "regrip: reloaded keys and folders\n");
    assert_eq!(status(address, "key-one").as_deref(), Some("401"));
    assert_eq!(status(address, "key-two").as_deref(), Some("200"));

    std::fs::write(&keys, "kéy-three\n").expect("written");
    let wrong = hang_up();
    assert!(wrong.starts_with("regrip: kept the previous keys: "), "{wrong}");
    assert!(!wrong.contains("three"), "{wrong}");
    std::fs::remove_file(&keys).expect("removed");
    assert!(hang_up().contains("cannot be read"));
    let pipe = Command::new("mkfifo").arg(&keys).status();
    assert!(pipe.expect("mkfifo runs").success());
    assert!(hang_up().contains("a named pipe, expected a regular file"));
    assert_eq!(status(address, "key-two").as_deref(), Some("200"));

    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_database_and_the_key_file_are_not_shared_whatever_their_names() {
    let folder = folder();
    std::fs::write(folder.path().join("films/friends.mkv"), "key-one\n").expect("written");
    let arguments = ["films", "--listen", "127.0.0.1:0", "--key-file", "films/friends.mkv"];
    let mut child = command_with(folder.path(), "films/ledger.mkv", &arguments).spawn().expect("regrip starts");
    let line = first_line(&mut child);
    assert!(line.starts_with("sharing 1 file, 4 B, at"), "{line}");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn with_few_open_files_a_crowd_without_a_key_keeps_nobody_out() {
    let folder = folder();
    std::fs::write(folder.path().join("keys"), "secret-one\n").expect("written");
    let mut child = Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_regrip")])
        .args(["share", "films", "--state", "state.db", "--key-file", "keys"])
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let line = first_line(&mut child);
    let address = line.trim().rsplit("http://").next().expect("an address");
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(address).expect("it listens"));
        if held.len() % 20 == 0 {
            assert_eq!(status(&line, "secret-one").as_deref(), Some("200"));
        }
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn what_cannot_be_shared_is_exit_2_and_says_why() {
    let folder = folder();
    std::fs::write(folder.path().join("empty"), "# nothing\n").expect("written");
    std::fs::write(folder.path().join("blank"), " \n\t\n").expect("written");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let table: [(&[&str], &str); 10] = [
        (&["films", "--listen", "0.0.0.0:0"], "is not a loopback address"),
        (&["films", "--listen", "127.0.0.1:0", "--key-file", "gone"], "the key file cannot be read: No such file"),
        (&["films", "--listen", "127.0.0.1:0", "--key-file", "empty"], "there is no key in it"),
        (&["films", "--listen", "127.0.0.1:0", "--key-file", "blank"], "there is no key in it"),
        (&["films", "--listen", "127.0.0.1:0", "--key-env", "BLANK"], "key 1 is blank"),
        (&["films", "--listen", "127.0.0.1:0", "--key-env", "NOT_SET"], "no variable of the name in --key-env"),
        (&["films", "--listen", &taken], "cannot listen at"),
        (&["gone", "--listen", "127.0.0.1:0"], "cannot share"),
        (&["films", "--listen", "nowhere"], "--listen"),
        (&[], "DIR"),
    ];
    for (arguments, wanted) in table {
        let ran = command(folder.path(), arguments).env("BLANK", " ").output().expect("regrip runs");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(wanted), "{arguments:?}: {err}");
    }
}
