//! Metalink documents on a server: fetched as any file is, and not trusted with what the user gave for their own server.

use crate::support::{Bench, Ran};
use regrip_faultd::Script;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A request, and if its client showed a certificate.
type Seen = Arc<Mutex<Vec<(String, bool)>>>;

/// A server with one request per connection; `answer` gets its path and the number of earlier requests. Returns its origin.
fn serve(
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(&str, usize) -> (u16, String) + Send + 'static,
) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let origin = format!("{scheme}://{}", listener.local_addr().expect("an address"));
    let seen = Seen::default();
    let requests = Arc::clone(&seen);
    let handle = move |stream: &mut dyn ReadWrite, has_certificate: &dyn Fn(&mut dyn ReadWrite) -> bool| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let Some(path) = head.split(' ').nth(1).map(str::to_owned) else { return };
        let (status, body) = answer(&path, requests.lock().unwrap().len());
        requests.lock().unwrap().push((head, has_certificate(stream)));
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.flush();
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            match &tls {
                None => handle(&mut stream, &|_| false),
                Some(config) => {
                    let session = ServerConnection::new(Arc::clone(config)).expect("a session");
                    let mut stream = StreamOwned::new(session, stream);
                    // The handshake; one that fails shows in the request that is missing.
                    let _ = stream.conn.complete_io(&mut stream.sock);
                    let has = stream.conn.peer_certificates().is_some();
                    handle(&mut stream, &|_| has);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        }
    });
    (origin, seen)
}

trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

/// A document with a file on another server and one on its own.
fn document(other: &str, own: &str) -> String {
    format!(
        "<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='theirs'><url>{other}/theirs</url></file>\
         <file name='own'><url>{own}/own</url></file></metalink>"
    )
}

/// Runs `get` on a document of one server that names a file on another: what each of them saw.
fn run(tls: Option<Arc<ServerConfig>>, arguments: impl Fn(&Bench) -> Vec<String>) -> (Ran, Seen, Seen) {
    let bench = Bench::serving(Script::new());
    let (other, of_other) = serve(tls.clone(), |_, _| (200, "theirs".to_owned()));
    let origin = Arc::new(Mutex::new(String::new()));
    let own = Arc::clone(&origin);
    let (server, of_server) = serve(tls, move |path, number| match path {
        "/films.meta4" if number == 0 => (503, String::new()),
        "/films.meta4" => (200, document(&other, &own.lock().unwrap())),
        _ => (200, "own".to_owned()),
    });
    origin.lock().unwrap().clone_from(&server);
    let url = format!("{server}/films.meta4");
    let arguments = arguments(&bench);
    let arguments: Vec<&str> = std::iter::once(&*url).chain(arguments.iter().map(String::as_str)).collect();
    let ran = bench.run(&arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for name in ["theirs", "own"] {
        assert_eq!(std::fs::read_to_string(bench.path(name)).expect("the file"), name);
    }
    (ran, of_server, of_other)
}

#[test]
fn a_document_is_requested_again_and_its_other_servers_get_none_of_the_users_headers() {
    let typed = ["-H", "X-Key: hunter2", "-u", "me:hunter2", "-A", "mine"];
    let (ran, own, other) = run(None, |_| typed.map(str::to_owned).to_vec());
    assert!(ran.err.contains("/films.meta4: the server answered 503; asking again"), "{ran:?}");
    let (own, other) = (own.lock().unwrap(), other.lock().unwrap());
    assert_eq!((own.len(), other.len()), (3, 1), "{own:?} {other:?}");
    let has = |head: &str, name: &str| head.contains(&format!("\r\n{name}: "));
    for (head, _) in own.iter() {
        assert!(has(head, "x-key") && has(head, "authorization") && has(head, "user-agent"), "{head}");
    }
    let head = &other[0].0;
    assert!(!has(head, "x-key") && !has(head, "authorization") && head.contains("user-agent: mine"), "{head}");
}

#[test]
fn the_other_servers_of_a_document_are_shown_no_client_certificate() {
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer =
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().expect("a key")).expect("an authority");
    let pair = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &issuer).expect("a certificate"), key)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der().clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificate, key) = pair("127.0.0.1");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().expect("a verifier"))
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a configuration");
    let (mine, my_key) = pair("me");
    let (_, own, other) = run(Some(Arc::new(config)), |bench| {
        let files = [("ca.pem", issuer.pem()), ("me.pem", mine.pem()), ("me.key", my_key.serialize_pem())];
        for (name, text) in files {
            std::fs::write(bench.path(name), text).expect("written");
        }
        ["--cacert", "ca.pem", "--cert", "me.pem", "--key", "me.key"].map(str::to_owned).to_vec()
    });
    let shown = |seen: &Seen| seen.lock().unwrap().iter().map(|(_, has)| *has).collect::<Vec<_>>();
    assert_eq!((shown(&own), shown(&other)), (vec![true; 3], vec![false]));
}
