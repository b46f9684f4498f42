//! The same over TLS.

mod raw;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use raw::{ask, bytes, eventually, read_exactly, read_head, read_to_end, version};
use regrip_faultd::faults::{Cut, Stall};
use regrip_faultd::{FileScript, Options, Script, Server, TlsIdentity};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Client = StreamOwned<ClientConnection, TcpStream>;

fn server(identity: &TlsIdentity, file: FileScript) -> Server {
    let options = Options { tls: Some(identity.clone()), ..Options::default() };
    Server::start_with(options, Script::one("/a", file)).expect("a loopback port is free")
}

/// A client that trusts this certificate.
fn client(server: &Server, trusted: &TlsIdentity) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trusted.certificate_der().to_vec())).expect("it can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("it is an address");
    let connection = ClientConnection::new(Arc::new(config), name).expect("the settings are complete");
    StreamOwned::new(connection, raw::connect(server))
}

/// The error of a handshake.
fn refused(mut client: Client) -> rustls::Error {
    let error = client.conn.complete_io(&mut client.sock).expect_err("it must be refused");
    let inner = error.into_inner().and_then(|inner| inner.downcast::<rustls::Error>().ok());
    *inner.expect("it is an error of TLS")
}

#[test]
fn a_file_arrives_over_tls_twice_on_one_connection() {
    let identity = TlsIdentity::self_signed().expect("a key can be made");
    let server = server(&identity, FileScript::honest(version(500_000)));
    assert!(server.origin().starts_with("https://127.0.0.1:"));
    assert!(identity.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let mut client = client(&server, &identity);
    for _ in 0..2 {
        ask(&mut client, "");
        assert_eq!(read_head(&mut client).status, 200);
        assert!(read_exactly(&mut client, 500_000) == bytes(0, 500_000), "the bytes differ");
    }
    assert_eq!(server.log()[1].connection, 1);
}

#[test]
fn an_expired_certificate_is_refused_by_a_client_that_looks() {
    let identity = TlsIdentity::expired().expect("a key can be made");
    let server = server(&identity, FileScript::honest(version(10)));
    let error = refused(client(&server, &identity));
    assert!(format!("{error:?}").contains("Expired"), "{error:?}");
    assert_eq!(server.log().len(), 0);
}

#[test]
fn a_certificate_nobody_trusts_is_refused() {
    let (own, other) = (TlsIdentity::self_signed().expect("a key"), TlsIdentity::self_signed().expect("a key"));
    let server = server(&own, FileScript::honest(version(10)));
    let error = refused(client(&server, &other));
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
}

#[test]
fn a_cut_over_tls_ends_with_a_close_notify_and_a_reset_does_not() {
    let identity = TlsIdentity::self_signed().expect("a key can be made");
    let file = FileScript::honest(version(100)).answer([Cut::after(30)]).answer([Cut::reset_after(30)]);
    let server = server(&identity, file);
    for expected in [None, Some(io::ErrorKind::ConnectionReset)] {
        let mut client = client(&server, &identity);
        ask(&mut client, "");
        read_head(&mut client);
        // Without a close_notify rustls would say UnexpectedEof.
        assert_eq!(read_to_end(&mut client), (bytes(0, 30), expected));
    }
}

#[test]
fn a_stall_over_tls_ends_when_the_peer_goes_or_the_server_stops() {
    let identity = TlsIdentity::self_signed().expect("a key can be made");
    let server = server(&identity, FileScript::honest(version(100)).then([Stall::after(30)]));
    let mut leaving = client(&server, &identity);
    ask(&mut leaving, "");
    read_head(&mut leaving);
    leaving.conn.send_close_notify();
    leaving.conn.complete_io(&mut leaving.sock).expect("it is sent");
    drop(leaving);
    eventually("the stall is given up", || server.open_connections() == 0);
    let mut staying = client(&server, &identity);
    ask(&mut staying, "");
    read_head(&mut staying);
    server.stop();
    assert_eq!(server.open_connections(), 0);
}
