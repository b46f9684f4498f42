//! The binary: its first line, its script, its exit codes.

mod raw;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use raw::{ask, bytes, read_exactly, read_head};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_regrip-faultd"))
}

/// A running program that is killed in the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it with a script on standard input and reads its address from the first line.
fn start(arguments: &[&str], script: &str) -> (Running, String) {
    let mut child =
        program().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(script.as_bytes()).expect("the script is read");
    drop(input);
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("there is a first line");
    let address = line.trim_end().strip_prefix("listening on http://").expect("the line names the address").to_owned();
    (Running(child), address)
}

fn run(arguments: &[&str], script: &str) -> Output {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may end before it reads.
    let _ = child.stdin.take().map(|mut input| input.write_all(script.as_bytes()));
    child.wait_with_output().expect("the program ends")
}

#[test]
fn it_plays_the_script_it_is_given_and_says_where() {
    let script =
        r#"{"files": {"/a": {"versions": [{"seed": 1, "size": 100}], "answers": [[{"range_short": {"bytes": 5}}]]}}}"#;
    let (_running, address) = start(&["--listen", "127.0.0.1:0", "--script", "-"], script);
    let mut stream = TcpStream::connect(address).expect("it listens");
    ask(&mut stream, "Range: bytes=10-\r\n");
    assert_eq!(read_head(&mut stream).header("Content-Range"), Some("bytes 10-14/100"));
    assert_eq!(read_exactly(&mut stream, 5), bytes(10, 15));
}

#[test]
fn without_a_script_it_serves_random_files() {
    let (_running, address) = start(&[], "");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /random/7 HTTP/1.1\r\n\r\n").expect("it reads");
    assert_eq!(read_head(&mut stream).header("Content-Length"), Some("7"));
    assert_eq!(read_exactly(&mut stream, 7), bytes(0, 7));
}

#[test]
fn a_folder_is_served_beside_the_script() {
    let source = concat!("/app/=", env!("CARGO_MANIFEST_DIR"), "/src");
    let (_running, address) = start(&["--pages", source], "");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /app/lib.rs HTTP/1.1\r\n\r\n").expect("it reads");
    let text = include_str!("../src/lib.rs").as_bytes();
    let head = read_head(&mut stream);
    assert_eq!(head.header("Content-Length"), Some(text.len().to_string().as_str()));
    assert_eq!(read_exactly(&mut stream, text.len()), text);
}

#[test]
fn a_bad_script_ends_it_with_2_and_the_line() {
    let output = run(&["--script", "-"], "{\n\n\"fils\": {}}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("fils") && error.contains("line 3"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_arguments_end_it_with_2_and_a_missing_file_with_1() {
    let table: [(&[&str], i32, &str); 6] = [
        (&["--lisen"], 2, "--lisen"),
        (&["--listen"], 2, "needs a value"),
        (&["--listen", "localhost"], 2, "ADDRESS:PORT"),
        (&["--tls", "good"], 2, "self-signed"),
        (&["--pages", "app=src"], 2, "/PATH/=FOLDER"),
        (&["--script", "/nonexistent/script"], 1, "/nonexistent/script"),
    ];
    for (arguments, code, named) in table {
        let output = run(arguments, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
}

#[test]
fn help_names_every_argument() {
    let output = run(&["--help"], "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for argument in ["--listen", "--script", "--tls", "--cert-out", "--pages"] {
        assert!(text.contains(argument), "{argument}");
    }
}
