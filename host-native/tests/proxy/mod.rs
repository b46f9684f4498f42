//! A small HTTP proxy: forwards what it gets with an absolute target, opens a line for CONNECT, and can say no; and a SOCKS
//! proxy that does the same.
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

/// A running SOCKS 5 proxy; its threads end with the test process.
pub(crate) struct Socks {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    /// Wants this `user:password`, if any; answers the first requests with these codes; knows where the names of `hosts` are.
    pub(crate) fn start(login: Option<&str>, codes: &[u8], hosts: &[(&str, SocketAddr)]) -> Socks {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let hosts = hosts.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let desk = Arc::new(SocksDesk {
            login: login.map(str::to_owned),
            codes: Mutex::new(codes.iter().copied().collect()),
            hosts,
            seen: Arc::clone(&seen),
        });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let desk = Arc::clone(&desk);
                thread::spawn(move || desk.serve(client).ok());
            }
        });
        Socks { address, seen }
    }

    /// Its address as a URL of this scheme, with this before the host.
    pub(crate) fn url(&self, scheme: &str, userinfo: &str) -> String {
        format!("{scheme}://{userinfo}{}", self.address)
    }

    /// All hosts that were asked for, each with its port and how it was written: `name a.test:80`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test panicked here").clone()
    }
}

struct SocksDesk {
    login: Option<String>,
    codes: Mutex<VecDeque<u8>>,
    hosts: Vec<(String, SocketAddr)>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl SocksDesk {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).map(|()| bytes)
        };
        let hello = read(2)?;
        assert_eq!(hello[0], 5);
        let offered = read(hello[1].into())?;
        let wanted = if self.login.is_some() { 2 } else { 0 };
        if !offered.contains(&wanted) {
            return client.write_all(&[5, 255]);
        }
        client.write_all(&[5, wanted])?;
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).map(|()| bytes)
        };
        if let Some(login) = &self.login {
            let user = read(2)?[1];
            let user = read(user.into())?;
            let password = read(1)?[0];
            let password = read(password.into())?;
            let given = [user.as_slice(), b":", &password].concat();
            let is_right = given == login.as_bytes();
            client.write_all(&[1, u8::from(!is_right)])?;
            if !is_right {
                return Ok(());
            }
        }
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).map(|()| bytes)
        };
        let head = read(4)?;
        assert_eq!(head[..3], [5, 1, 0]);
        let (kind, host) = match head[3] {
            1 => ("v4", std::net::Ipv4Addr::from(<[u8; 4]>::try_from(read(4)?).expect("four")).to_string()),
            4 => ("v6", format!("[{}]", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(read(16)?).expect("sixteen")))),
            _ => {
                let length = read(1)?[0];
                ("name", String::from_utf8(read(length.into())?).expect("a name"))
            }
        };
        let port = read(2)?;
        let authority = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
        self.seen.lock().expect("not poisoned").push(format!("{kind} {authority}"));
        if let Some(code) = self.codes.lock().expect("not poisoned").pop_front() {
            return client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let known = self.hosts.iter().find(|(name, _)| *name == authority);
        let server = match known {
            Some((_, address)) => TcpStream::connect(address)?,
            None => TcpStream::connect(&authority)?,
        };
        // A name, which is longer than an address.
        client.write_all(b"\x05\x00\x00\x03\x05proxy\x00\x50")?;
        join(client, server)
    }
}
