//! Headers, credentials, trust, proxies and the rate, as the binary takes them.

use crate::proxy::Proxy;
use crate::support::{Bench, Ran, length};
use futures_rustls::TlsAcceptor;
use regrip_faultd::faults::{Cut, Redirect, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn film() -> Version {
    Version::new(1, 300_000).etag("\"v1\"")
}

fn one() -> Script {
    Script::one("/film", FileScript::honest(film()))
}

/// The value of a header in each request so far.
fn sent(bench: &Bench, name: &str) -> Vec<Option<String>> {
    let log = bench.server.log();
    log.iter().map(|entry| entry.header(name).map(str::to_owned)).collect()
}

fn assert_kept_nowhere(bench: &Bench, ran: &Ran, secrets: &[&str]) {
    let state = std::fs::read(bench.path("state/regrip/state.db")).expect("the state file");
    for secret in secrets {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
        let kept = state.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!kept, "{secret} is in the state file");
    }
}

#[test]
fn headers_go_along_and_only_their_names_are_kept() {
    let script = one().require_header("X-Key", "hunter2");
    let bench = Bench::serving(script);
    let arguments = ["--header", "X-Key:hunter2", "--header", "User-Agent: mine/1", "--header", "Cookie: a=b"];
    let ran = bench.run(&[&[bench.url("/film").as_str(), "--json"], arguments.as_slice()].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(sent(&bench, "user-agent"), [Some("mine/1".to_owned())]);
    assert_kept_nowhere(&bench, &ran, &["hunter2", "mine/1", "a=b"]);
    let state = std::fs::read(bench.path("state/regrip/state.db")).expect("the state file");
    let names: &[u8] = br#"["cookie","user-agent","x-key"]"#;
    assert!(state.windows(names.len()).any(|window| window == names));
}

#[test]
fn a_part_that_came_by_credentials_waits_for_them() {
    let script =
        Script::one("/film", FileScript::honest(film()).answer([Cut::after(200_000)]).answer([Status::code(503)]));
    let bench = Bench::serving(script.require_header("X-Key", "hunter2"));
    let url = bench.url("/film");
    let key = ["--header", "X-Key: hunter2"];
    let ran = bench.run(&[&[url.as_str(), "--max-attempts", "1"], key.as_slice()].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(length(&bench.path("film.part")), 200_000);
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("x-key") && ran.err.contains("same credentials"), "{}", ran.err);
    assert_eq!(length(&bench.path("film.part")), 200_000);
    assert_eq!(bench.server.log().len(), 2, "a request was made");
    assert_eq!(bench.run(&[&[url.as_str()], key.as_slice()].concat()).code, Some(0));
    bench.assert_is("film", Content::new(1, 300_000));
    assert_eq!(bench.ranges("/film")[2].as_deref(), Some("bytes=200000-"));
    // Nothing is asked for any more, so nothing is needed.
    assert_eq!(bench.run(&[&url]).code, Some(0));
}

#[test]
fn a_user_is_for_every_url_that_has_none_of_its_own() {
    let mut script = Script::new();
    for name in ["/a", "/b", "/c"] {
        script = script.file(name, FileScript::honest(film()));
    }
    let bench = Bench::serving(script);
    let own = |path: &str, user: &str| bench.url(path).replace("http://", &format!("http://{user}@"));
    let urls = [own("/a", "one:hunter2"), own("/b", "two:hunter3"), bench.url("/c")];
    let ran = bench.run(&[&urls[0], &urls[1], &urls[2], "--user", "me:sec:ret", "-j", "1", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let basic = ["b25lOmh1bnRlcjI=", "dHdvOmh1bnRlcjM=", "bWU6c2VjOnJldA=="];
    assert_eq!(sent(&bench, "authorization"), basic.map(|text| Some(format!("Basic {text}"))));
    assert_kept_nowhere(&bench, &ran, &["hunter2", "hunter3", "sec:ret", basic[0], basic[1], basic[2]]);
}

#[test]
fn a_certificate_is_believed_where_its_authority_or_nothing_is_asked_for() {
    let bench = Bench::serving_tls(one());
    let url = bench.url("/film");
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("certificate"), "{}", ran.err);
    assert!(bench.server.log().is_empty());
    let pem = std::fs::read(bench.path("ca.pem")).expect("there");
    let with_mark = [b"\xef\xbb\xbf", pem.as_slice()].concat();
    std::fs::write(bench.path("marked.pem"), with_mark).expect("written");
    for trust in [["--cacert", "ca.pem"].as_slice(), &["--cacert", "marked.pem"], &["-k"], &["--insecure"]] {
        let ran = bench.run(&[&[url.as_str(), "--on-exists", "rename"], trust].concat());
        assert_eq!(ran.code, Some(0), "{trust:?}: {ran:?}");
        std::fs::remove_file(bench.path("film")).expect("it came");
    }
    // One's own list is the whole list: what the machine trusts beside it does not count.
    let other = Bench::serving_tls(one());
    std::fs::copy(other.path("ca.pem"), bench.path("other.pem")).expect("copied");
    for (trust, code) in [([].as_slice(), Some(0)), (&["--cacert", "other.pem"], Some(1))] {
        let mut command = bench.get(&[&[url.as_str(), "--on-exists", "overwrite"], trust].concat());
        let ran = command.env("SSL_CERT_FILE", bench.path("ca.pem")).output();
        let ran = Ran::of(ran.expect("regrip runs"));
        assert_eq!(ran.code, code, "{trust:?}: {ran:?}");
        let _ = std::fs::remove_file(bench.path("film"));
    }
}

#[test]
fn http_goes_through_the_proxy_and_its_password_no_further() {
    let bench = Bench::serving(one());
    let proxy = Proxy::start();
    let by = proxy.url("me:hunter2@");
    let ran = bench.run(&[&bench.url("/film"), "--proxy", &by, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(1, 300_000));
    let head = &proxy.seen()[0];
    assert!(head.starts_with(&format!("GET {} HTTP/1.1", bench.url("/film"))), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic bWU6aHVudGVyMg=="), "{head}");
    assert_eq!(sent(&bench, "proxy-authorization"), [None]);
    assert_kept_nowhere(&bench, &ran, &["hunter2", "bWU6aHVudGVyMg"]);
}

#[test]
fn https_goes_through_a_tunnel_and_resumes_through_another() {
    let script = Script::one("/film", FileScript::honest(film()).answer([Cut::after(100_000)]));
    let bench = Bench::serving_tls(script);
    let proxy = Proxy::refusing([503]);
    let by = proxy.url("me:hunter2@");
    let secret = "X-Key: for the origin";
    let ran = bench.run(&[&bench.url("/film"), "--cacert", "ca.pem", "--proxy", &by, "--header", secret]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(1, 300_000));
    assert!(ran.err.contains("answered 503 to CONNECT"), "{}", ran.err);
    let seen = proxy.seen();
    assert_eq!(seen.len(), 3, "refused, cut, resumed");
    for head in seen {
        assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1", bench.server.address())), "{head}");
        assert!(head.contains("Proxy-Authorization: ") && !head.contains("for the origin"), "{head}");
    }
    assert_eq!(sent(&bench, "proxy-authorization"), [None, None]);
}

#[test]
fn a_proxy_that_says_no_is_permanent_and_says_so() {
    let bench = Bench::serving_tls(one());
    for status in [403, 407] {
        let proxy = Proxy::refusing([status]);
        let ran = bench.run(&[&bench.url("/film"), "-k", "--proxy", &proxy.url("")]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("the proxy refused") && ran.err.contains("check the proxy"), "{}", ran.err);
        assert_eq!(proxy.seen().len(), 1, "it was asked again");
    }
    assert!(bench.server.log().is_empty());
}

#[test]
fn the_environment_names_proxies_and_who_needs_none() {
    let bench = Bench::serving(one());
    // variable, its value (`{proxy}` is one), NO_PROXY, whether the proxy is used
    let address = bench.server.address().to_string();
    let table = [
        ("http_proxy", "{proxy}", "", true),
        ("HTTP_PROXY", "{proxy}", "", true),
        ("ALL_PROXY", "{proxy}", "localhost,10.0.0.0/8", true),
        ("HTTPS_PROXY", "{proxy}", "", false),
        ("http_proxy", "{proxy}", "127.0.0.1", false),
        ("http_proxy", "{proxy}", "a.test, 127.0.0.0/8", false),
        ("http_proxy", "{proxy}", "*", false),
        ("http_proxy", "{proxy}", address.as_str(), false),
        ("http_proxy", "", "", false),
    ];
    for (variable, value, no_proxy, used) in table {
        let proxy = Proxy::start();
        let mut command = bench.get(&[&bench.url("/film"), "--on-exists", "overwrite"]);
        command.env(variable, value.replace("{proxy}", &proxy.url("")));
        command.env("NO_PROXY", no_proxy);
        let ran = Ran::of(command.output().expect("regrip runs"));
        assert_eq!(ran.code, Some(0), "{variable} {no_proxy}: {ran:?}");
        assert_eq!(!proxy.seen().is_empty(), used, "{variable}={value} NO_PROXY={no_proxy}");
        std::fs::remove_file(bench.path("film")).expect("it came");
    }
}

// FD08
#[test]
fn a_proxy_variable_that_cannot_be_used_matters_only_to_a_url_that_needs_it() {
    let bench = Bench::serving(one());
    let bad = ["socks4://me:hunter2@127.0.0.1:1", "ftp://me:hunter2@proxy:1", "me:hunter2@:::"];
    let other = ("no_proxy", "127.0.0.1,example.org");
    for bad in bad {
        for (variable, exception, needed) in [
            ("all_proxy", other, false),
            ("ALL_PROXY", ("NO_PROXY", "127.0.0.0/8"), false),
            ("https_proxy", ("no_proxy", ""), false),
            ("http_proxy", ("no_proxy", "example.org"), true),
            ("all_proxy", ("no_proxy", "127.0.0.1:1"), true),
        ] {
            let mut command = bench.get(&[&bench.url("/film"), "--force"]);
            command.env(variable, bad).env(exception.0, exception.1);
            let ran = Ran::of(command.output().expect("regrip runs"));
            let code = if needed { Some(2) } else { Some(0) };
            assert_eq!(ran.code, code, "{variable} {exception:?}: {ran:?}");
            assert_eq!(ran.err.contains(&format!("the proxy in {variable}")), needed, "{}", ran.err);
            assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        }
    }
}

#[test]
fn a_redirect_to_a_scheme_whose_proxy_cannot_be_used_is_refused_and_never_goes_around_it() {
    let script = FileScript::honest(film()).answer([Redirect::to("https://127.0.0.1:1/film")]);
    let bench = Bench::serving(Script::one("/film", script));
    let mut command = bench.get(&[&bench.url("/film")]);
    command.env("https_proxy", "socks4://me:hunter2@127.0.0.1:1");
    let ran = Ran::of(command.output().expect("regrip runs"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("https_proxy") && !ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn a_name_that_only_the_proxy_knows_is_resolved_there() {
    let bench = Bench::serving(one());
    let proxy = Proxy::resolving("films.test", bench.server.address());
    let ran = bench.run(&["http://films.test/film", "--proxy", &proxy.url("")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(1, 300_000));
}

#[test]
fn several_files_share_the_rate() {
    let mut script = Script::new();
    for name in ["/a", "/b", "/c"] {
        script = script.file(name, FileScript::honest(film()));
    }
    let bench = Bench::serving(script);
    let urls = ["/a", "/b", "/c"].map(|path| bench.url(path));
    let begun = Instant::now();
    let ran = bench.run(&[&urls[0], &urls[1], &urls[2], "--limit-rate", "600k", "-q"]);
    // A slow machine only makes it longer; 900,000 bytes at 614,400 a second are 1.46 s.
    assert!(begun.elapsed() >= Duration::from_millis(1_300), "{:?}", begun.elapsed());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for name in ["a", "b", "c"] {
        bench.assert_is(name, Content::new(1, 300_000));
    }
}

/// Speaks TLS for a proxy, with a certificate that nobody knows.
fn secured(proxy: SocketAddr) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("known");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = smol::block_on(smol::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let work = smol::LocalExecutor::new();
        smol::block_on(work.run(async {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let pass = async move {
                    let (from, to) = smol::io::split(acceptor.accept(client).await.ok()?);
                    let inner = smol::net::TcpStream::connect(proxy).await.ok()?;
                    let there = smol::io::copy(from, inner.clone());
                    let back = smol::io::copy(inner, to);
                    futures::future::select(pin!(there), pin!(back)).await;
                    Some(())
                };
                work.spawn(pass).detach();
            }
        }));
    });
    address
}

#[test]
fn a_proxy_may_be_spoken_to_over_tls() {
    let script = || Script::one("/film", FileScript::honest(Version::new(1, 300_000)));
    for (bench, asked) in [(Bench::serving(script()), "GET http://"), (Bench::serving_tls(script()), "CONNECT ")] {
        let proxy = Proxy::start();
        let url = format!("https://me:hunter2@{}", secured(proxy.address));
        let ran = bench.run(&[&bench.url("/film"), "--proxy", &url, "--max-attempts", "1"]);
        assert!(ran.code == Some(1) && ran.err.contains("certificate"), "{ran:?}");
        assert!(proxy.seen().is_empty());
        let ran = bench.run(&[&bench.url("/film"), "--proxy", &url, "--insecure"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film", Content::new(1, 300_000));
        let seen = proxy.seen().join("\n");
        assert!(seen.starts_with(asked) && seen.to_lowercase().contains("proxy-authorization: basic"), "{seen}");
    }
}
