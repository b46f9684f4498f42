//! A test as somebody else would write it, about a client that is not ours. README.md shows it.

use regrip_faultd::faults::Cut;
use regrip_faultd::{FileScript, Script, Server, Version};
use std::io::{Read, Result, Write};
use std::net::TcpStream;

/// A client with a common bug: it takes the end of the connection for the end of the file.
fn download(url: &str) -> Result<Vec<u8>> {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut connection = TcpStream::connect(host)?;
    write!(connection, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response)?;
    let head = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    Ok(response.split_off(head + 4))
}

#[test]
#[should_panic(expected = "took 40000 of 100000 bytes for the whole file")]
fn a_body_that_is_cut_short_is_an_error() {
    let file = FileScript::honest(Version::new(1, 100_000)).answer([Cut::after(40_000)]);
    let server = Server::start(Script::one("/film.mkv", file)).unwrap();
    if let Ok(bytes) = download(&server.url("/film.mkv")) {
        panic!("took {} of 100000 bytes for the whole file", bytes.len());
    }
}

#[test]
fn a_body_that_is_whole_is_received() {
    let server = Server::start(Script::one("/film.mkv", FileScript::honest(Version::new(1, 100_000)))).unwrap();
    let whole = Version::new(1, 100_000).content().bytes(0..100_000);
    assert!(download(&server.url("/film.mkv")).unwrap() == whole);
}
