//! A small HTTP proxy: forwards what it gets with an absolute target, opens a line for CONNECT, and can say no.
#![allow(dead_code)] // each test crate uses a part of it

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running proxy; its threads end with the test process.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    seen: Mutex<Vec<String>>,
    refusals: Mutex<VecDeque<u16>>,
    hosts: Vec<(String, SocketAddr)>,
}

impl Proxy {
    /// Passes everything on.
    pub(crate) fn start() -> Proxy {
        Proxy::refusing([])
    }

    /// Answers the first requests with these statuses.
    pub(crate) fn refusing(statuses: impl IntoIterator<Item = u16>) -> Proxy {
        Proxy::with(Desk { refusals: Mutex::new(statuses.into_iter().collect()), ..Desk::default() })
    }

    /// Resolves a name that nobody else can.
    pub(crate) fn resolving(name: &str, address: SocketAddr) -> Proxy {
        Proxy::with(Desk { hosts: vec![(name.to_owned(), address)], ..Desk::default() })
    }

    fn with(desk: Desk) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let desk = Arc::new(desk);
        let for_thread = Arc::clone(&desk);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let desk = Arc::clone(&for_thread);
                // A client that goes away ends its conversation, and nothing else.
                thread::spawn(move || desk.serve(client).ok());
            }
        });
        Proxy { address, desk }
    }

    /// Its address as a URL, with this before the host.
    pub(crate) fn url(&self, userinfo: &str) -> String {
        format!("http://{userinfo}{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.desk.seen.lock().expect("no test panicked here").clone()
    }
}

impl Desk {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let head = read_head(&mut client)?;
        self.seen.lock().expect("not poisoned").push(head.clone());
        let refusal = self.refusals.lock().expect("not poisoned").pop_front();
        if let Some(status) = refusal {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno");
            return client.write_all(answer.as_bytes());
        }
        let target = head.split(' ').nth(1).unwrap_or_default();
        if head.starts_with("CONNECT ") {
            let server = self.connect(target)?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            return join(client, server);
        }
        let rest = target.strip_prefix("http://").ok_or(io::ErrorKind::InvalidInput)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut server = self.connect(authority)?;
        let fields = head.lines().skip(1).filter(|line| !line.starts_with("Proxy-"));
        let fields: String = fields.map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET /{path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        server.write_all(request.as_bytes())?;
        join(client, server)
    }

    fn connect(&self, authority: &str) -> io::Result<TcpStream> {
        let known = self.hosts.iter().find(|(name, _)| name == authority);
        match known {
            Some((_, address)) => TcpStream::connect(address),
            None => TcpStream::connect(authority),
        }
    }
}

/// The request head, without the empty line.
fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    head.truncate(head.len() - 4);
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Carries bytes both ways until both sides are done.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let onward = thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
        copied
    });
    let (mut from_server, mut to_client) = (server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = onward.join();
    copied.map(drop)
}
