//! https: who is believed, and what a redirect may do with it.

use crate::support::{Answer, Server, fetch, found, keep, ok, options, transport};
use base64::Engine;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use regrip::transport::{HttpTransport, Identity, Roots};
use regrip_core::Error;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::sync::Arc;

use crate::support::Seen;

/// A certificate authority made for one test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// A transport that believes it.
    fn believer(&self) -> HttpTransport {
        believer_of(&self.issuer.pem())
    }

    /// A certificate for `name`, and its key.
    fn pair(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server with a certificate for `name` that ends in the given year.
    fn server(&self, name: &str, last_year: i32, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serving(&certificate, &key, script)
    }
}

/// A transport that believes a certificate, and the platform's.
fn believer_of(pem: &str) -> HttpTransport {
    let mut options = options();
    options.roots = Roots::platform().and_pem(pem.as_bytes()).unwrap();
    HttpTransport::new(options)
}

/// A server with this certificate.
fn serving(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
    script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> Server {
    serving_clients_of(None, &rustls::version::TLS13, certificate, key, script)
}

/// The same for clients that have a certificate of an authority.
fn serving_clients_of(
    clients: Option<&Authority>,
    version: &'static rustls::SupportedProtocolVersion,
    certificate: &rcgen::Certificate,
    key: &KeyPair,
    script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(clients.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            config.with_client_cert_verifier(verifier)
        }
    };
    let config =
        config.with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    let config = Arc::new(config.unwrap());
    let wrap = move |stream| {
        let session = ServerConnection::new(config.clone()).unwrap();
        Box::new(StreamOwned::new(session, stream)) as Box<dyn crate::support::Wire>
    };
    Server::wrapped("127.0.0.1:0", Arc::new(wrap), script).unwrap()
}

fn https(server: &Server, path: &str) -> String {
    server.url(path).replace("http:", "https:")
}

#[test]
fn a_certificate_of_an_added_authority_is_believed_and_the_connection_used_again() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", 2999, |_| ok("private"));
    let transport = authority.believer();
    for _ in 0..2 {
        assert_eq!(fetch(&transport, &https(&server, "/")).unwrap().body, "private");
    }
    assert_eq!(server.seen()[1].connection, 0);
}

#[test]
fn a_large_body_comes_whole_through_tls() {
    let authority = Authority::new();
    let body: String = (0..3_000_000_u32).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let server = authority.server("127.0.0.1", 2999, {
        let body = body.clone();
        move |_| ok(&body)
    });
    assert!(fetch(&authority.believer(), &https(&server, "/")).unwrap().body == body);
}

#[test]
fn a_certificate_that_does_not_hold_is_permanent() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let table = [
        ("expired", authority.server("127.0.0.1", 2001, |_| ok("x"))),
        ("for another name", authority.server("other.test", 2999, |_| ok("x"))),
        ("of a stranger", stranger.server("127.0.0.1", 2999, |_| ok("x"))),
    ];
    let transport = authority.believer();
    for (what, server) in table {
        let error = fetch(&transport, &https(&server, "/")).unwrap_err();
        assert!(matches!(error, Error::Certificate(_)), "{what}: {error:?}");
        assert!(server.seen().is_empty(), "{what}: a request was sent");
    }
}

#[test]
fn a_certificate_signed_by_itself_as_an_authority_is_believed_where_it_was_given() {
    let signed = |name: &str, last_year: i32| {
        // As `openssl req -x509` makes them.
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let table = [("127.0.0.1", 2999, true), ("127.0.0.1", 2001, false), ("other.test", 2999, false)];
    for (name, last_year, believed) in table {
        let (certificate, key) = signed(name, last_year);
        let server = serving(&certificate, &key, |_| ok("x"));
        let fetched = fetch(&believer_of(&certificate.pem()), &https(&server, "/"));
        assert_eq!(fetched.is_ok(), believed, "{name}, {last_year}: {fetched:?}");
        // Another one of the same name is another one.
        let (other, _) = signed(name, last_year);
        let error = fetch(&believer_of(&other.pem()), &https(&server, "/")).unwrap_err();
        assert!(matches!(error, Error::Certificate(_)), "{error:?}");
    }
}

#[test]
fn a_given_address_changes_neither_the_name_in_the_certificate_nor_the_host_header() {
    let authority = Authority::new();
    let server = authority.server("films.test", 2999, |_| ok("x"));
    let port = server.address.port();
    for (name, is_believed) in [("films.test", true), ("other.test", false)] {
        let mut options = options();
        options.roots = Roots::none().and_pem(authority.issuer.pem().as_bytes()).unwrap();
        options.resolve.insert((name.to_owned(), port), vec![server.address.ip()]);
        let fetched = fetch(&HttpTransport::new(options), &format!("https://{name}:{port}/"));
        assert_eq!(fetched.is_ok(), is_believed, "{name}: {fetched:?}");
    }
    assert_eq!(server.only_request().header("host"), Some(format!("films.test:{port}").as_str()));
}

#[test]
fn the_platform_does_not_believe_a_stranger() {
    let server = Authority::new().server("127.0.0.1", 2999, |_| ok("x"));
    let error = fetch(&transport(), &https(&server, "/")).unwrap_err();
    assert!(matches!(error, Error::Certificate(_)), "{error:?}");
}

#[test]
fn a_handshake_that_breaks_is_a_network_error() {
    for reply in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, reply.as_bytes());
        });
        let error = fetch(&transport(), &url).unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{reply:?}: {error:?}");
    }
}

/// A server that answers each handshake with these bytes and closes; `false` in the channel means that it was not asked
/// again.
fn answering_handshakes(reply: Vec<u8>) -> (String, std::sync::mpsc::Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let (tell, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = tell.send(());
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, &reply);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            while matches!(std::io::Read::read(&mut stream, &mut [0; 4096]), Ok(1..)) {}
        }
    });
    (url, asked)
}

// FW10
#[test]
fn an_alert_that_would_come_again_is_permanent_and_says_what_the_server_lacks() {
    let table = [
        (40, Some("TLS 1.2 with ECDHE or TLS 1.3 is needed")),
        (43, Some("no type of certificate in common")),
        (70, Some("TLS 1.2 or TLS 1.3 is needed")),
        (71, Some("TLS 1.2 with ECDHE or TLS 1.3 is needed")),
        (112, Some("no certificate for this name")),
        (116, Some("wants a client certificate")),
        (120, Some("no HTTP/1.1 over TLS")),
        (20, None), // bad_record_mac
        (80, None), // internal_error
        (90, None), // user_canceled
    ];
    for (alert, lacks) in table {
        let (url, asked) = answering_handshakes(vec![21, 3, 3, 0, 2, 2, alert]);
        let error = fetch(&transport(), &url).unwrap_err();
        assert_eq!(asked.try_iter().count(), 1, "{alert}");
        match (&error, lacks) {
            (Error::Tls(why), Some(lacks)) => assert!(why.contains(lacks), "{alert}: {why}"),
            (Error::Network { .. }, None) => {}
            other => panic!("{alert}: {other:?}"),
        }
    }
}

#[test]
fn a_server_that_chooses_what_was_not_offered_is_a_permanent_error() {
    let server_hello = |version: [u8; 2], suite: [u8; 2]| {
        let mut hello = vec![2, 0, 0, 38, version[0], version[1]];
        hello.extend([7; 32]);
        hello.extend([0, suite[0], suite[1], 0]);
        let mut record = vec![22, 3, 3, 0, hello.len() as u8];
        record.extend(hello);
        record
    };
    for (version, suite, lacks) in [
        ([3, 1], [0, 0x2f], "TLS 1.2 or TLS 1.3 is needed"),
        ([3, 3], [0, 0x9c], "TLS 1.2 with ECDHE"), // RSA key exchange
    ] {
        let (url, _asked) = answering_handshakes(server_hello(version, suite));
        let error = fetch(&transport(), &url).unwrap_err();
        let Error::Tls(why) = &error else { panic!("{error:?}") };
        assert!(why.contains(lacks), "{why}");
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let authority = Authority::new();
    let plain = Server::new(|_| ok("x"));
    let to = plain.url("/?key=secret");
    let server = authority.server("127.0.0.1", 2999, move |_| found(&to));
    let error = fetch(&authority.believer(), &https(&server, "/")).unwrap_err();
    assert!(matches!(error, Error::RedirectRefused(_)), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(plain.seen().is_empty());
}

#[test]
fn a_redirect_from_http_to_https_is_followed() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", 2999, |_| ok("private"));
    let to = https(&server, "/");
    let plain = Server::new(move |_| found(&to));
    assert_eq!(fetch(&authority.believer(), &plain.url("/")).unwrap().body, "private");
}

#[test]
fn a_close_delimited_body_that_ends_without_a_word_of_tls_is_cut() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", 2999, |_| crate::support::close("HTTP/1.1 200 OK\r\n\r\nabc"));
    let (body, error) = crate::support::fetch_broken(&authority.believer(), &https(&server, "/"));
    assert_eq!(body, "abc");
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

#[test]
fn a_body_of_known_length_needs_no_goodbye() {
    let authority = Authority::new();
    let server = authority
        .server("127.0.0.1", 2999, |_| crate::support::close("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"));
    assert_eq!(fetch(&authority.believer(), &https(&server, "/")).unwrap().body, "abc");
}

#[test]
fn a_pem_text_without_a_usable_certificate_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n????", broken] {
        let error = Roots::platform().and_pem(pem.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Certificate(_)), "{pem:?}: {error:?}");
    }
}

#[test]
fn an_http_server_at_an_https_address_is_not_believed() {
    let server = Server::new(|_| keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    // It reads the handshake as a request line without end, so it is the connect timeout that ends this.
    let mut options = options();
    options.connect_timeout = std::time::Duration::from_millis(100);
    let error = fetch(&HttpTransport::new(options), &https(&server, "/")).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

/// The key as SEC 1 has it, which is a part of PKCS #8.
fn sec1(key: &KeyPair) -> String {
    let der = key.serialize_der();
    let start = der.windows(4).position(|bytes| bytes == [0x04, 0x6d, 0x30, 0x6b]).unwrap() + 2;
    let text = base64::engine::general_purpose::STANDARD.encode(&der[start..start + 0x6b + 2]);
    format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n")
}

#[test]
fn a_client_certificate_is_shown_to_the_origins_it_was_given_for_and_to_no_other() {
    let authority = Authority::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (certificate, key) = authority.pair("127.0.0.1");
        let asking = |script: Box<dyn Fn(&Seen) -> Answer + Send + Sync>| {
            serving_clients_of(Some(&authority), version, &certificate, &key, script)
        };
        let other = asking(Box::new(|_| ok("other")));
        let to = https(&other, "/");
        let server = asking(Box::new(move |seen| if seen.target() == "/away" { found(&to) } else { ok("private") }));
        let (mine, my_key) = authority.pair("me");
        let transport = |identity: Option<Identity>| {
            let mut options = options();
            options.roots = Roots::none().and_pem(authority.issuer.pem().as_bytes()).unwrap();
            let origins = [https(&server, "/").parse().unwrap()];
            options.identity = identity.map(|identity| (identity, origins.into_iter().collect()));
            HttpTransport::new(options)
        };
        let error = fetch(&transport(None), &https(&server, "/")).unwrap_err();
        assert!(matches!(&error, Error::Tls(why) if why.contains("client certificate")), "{version:?} {error:?}");
        let both = format!("{}{}", my_key.serialize_pem(), mine.pem());
        for (certificates, key) in
            [(mine.pem(), my_key.serialize_pem()), (mine.pem(), sec1(&my_key)), (both.clone(), both)]
        {
            let identity = Identity::from_pem(certificates.as_bytes(), key.as_bytes()).unwrap();
            assert!(!format!("{identity:?}").contains("PRIVATE"));
            let transport = transport(Some(identity));
            assert_eq!(fetch(&transport, &https(&server, "/")).unwrap().body, "private");
            let error = fetch(&transport, &https(&server, "/away")).unwrap_err();
            assert!(matches!(&error, Error::Tls(why) if why.contains("client certificate")), "{error:?}");
        }
        assert!(other.seen().is_empty());
    }
}
