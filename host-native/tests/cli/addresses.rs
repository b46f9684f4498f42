//! Which address a connection goes to, and by which SOCKS proxy: `-4`, `-6`, `--resolve`, `--proxy`.

use crate::proxy::{Proxy, Socks};
use crate::support::{Bench, Ran};
use regrip_faultd::faults::Cut;
use regrip_faultd::{Content, FileScript, Script, Version};

fn bench() -> Bench {
    let film = Version::new(1, 300_000).etag("\"v1\"");
    Bench::serving(Script::one("/film", FileScript::honest(film)))
}

/// A URL of the bench by another name.
fn named(bench: &Bench, name: &str) -> String {
    format!("http://{name}:{}/film", bench.server.address().port())
}

#[test]
fn a_name_that_was_given_an_address_is_not_looked_up_and_stays_in_the_host_header() {
    let port = bench().server.address().port();
    let table = [
        ("films.test:{port}:127.0.0.1", true),
        ("+FILMS.test:{port}:[127.0.0.1]", false),
        ("+FILMS.test:{port}:127.0.0.1", true),
        ("films.test:{port}:127.0.0.9,127.0.0.1", true),
        ("films.test:{port}:[::1],127.0.0.1", true),
        ("*:{port}:127.0.0.1", true),
        ("films.test:1:127.0.0.1", false),
        ("other.test:{port}:127.0.0.1", false),
    ];
    assert!(port > 1);
    for (resolve, is_found) in table {
        let bench = bench();
        let port = bench.server.address().port();
        let typed = resolve.replace("{port}", &port.to_string());
        let url = named(&bench, "films.test");
        let ran = bench.run(&[&url, "--max-attempts", "1", "--resolve", "a.test:1:10.0.0.1", "--resolve", &typed]);
        let is_found = is_found || resolve.contains("[127");
        assert_eq!(ran.code == Some(0), is_found, "{resolve}: {ran:?}");
        if is_found {
            bench.assert_is("film", Content::new(1, 300_000));
            let host = format!("films.test:{port}");
            assert_eq!(bench.server.log()[0].header("host"), Some(host.as_str()), "{resolve}");
        }
    }
}

#[test]
fn a_given_address_is_judged_like_one_that_was_looked_up() {
    let bench = bench();
    let port = bench.server.address().port();
    let resolve = format!("films.test:{port}:169.254.169.254");
    let ran = bench.run(&[&named(&bench, "films.test"), "--resolve", &resolve]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("address was refused") && ran.err.contains("link-local"), "{}", ran.err);
}

#[test]
fn only_addresses_of_the_family_that_was_asked_for_are_connected_to() {
    let bench = bench();
    let port = bench.server.address().port();
    let both = format!("films.test:{port}:[::1],127.0.0.1");
    let url = named(&bench, "films.test");
    assert_eq!(bench.run(&[&url, "-4", "--resolve", &both]).code, Some(0));
    // The server listens on IPv4 only.
    let ran = bench.run(&[&url, "-6", "--force", "--max-attempts", "1", "--resolve", &both]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("connecting to [::1]:"), "{}", ran.err);
    // An address in the URL is what it is; no attempt changes that.
    for (host, option, family) in [("127.0.0.1", "--ipv6", "IPv6"), ("[::1]", "--ipv4", "IPv4")] {
        let ran = bench.run(&[&named(&bench, host), option, "--force", "--json"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.story(), ["queued", "started", "failed"], "{host}");
        assert!(ran.out.contains(&format!("has no {family} address")), "{}", ran.out);
    }
    let ran = bench.run(&[&url, "-4", "-6"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_given_address_of_the_proxy_counts_and_one_of_a_host_behind_it_does_not() {
    let bench = bench();
    let proxy = Proxy::resolving(&format!("films.test:{}", bench.server.address().port()), bench.server.address());
    let here = format!("proxy.test:{}:127.0.0.1", proxy.address.port());
    let elsewhere = format!("films.test:{}:127.0.0.9", bench.server.address().port());
    let by = format!("proxy.test:{}", proxy.address.port());
    let url = named(&bench, "films.test");
    let ran = bench.run(&[&url, "--proxy", &by, "--resolve", &here, "--resolve", &elsewhere]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(proxy.seen()[0].starts_with(&format!("GET {url} HTTP/1.1")), "{:?}", proxy.seen());
}

#[test]
fn socks_proxies_resolve_names_or_leave_that_to_regrip_by_their_scheme() {
    let bench = bench();
    let port = bench.server.address().port();
    let url = named(&bench, "films.test");
    let resolve = format!("films.test:{port}:127.0.0.1");
    let table = [
        ("socks5h", None, "", format!("name films.test:{port}")),
        ("socks5h", Some("me:s3:cret"), "me:s3%3Acret@", format!("name films.test:{port}")),
        ("socks5", None, "", format!("v4 127.0.0.1:{port}")),
        ("socks5", Some("me:"), "me@", format!("v4 127.0.0.1:{port}")),
        // It takes no user, and gets none.
        ("socks5h", None, "me:s3cret@", format!("name films.test:{port}")),
    ];
    for (scheme, login, userinfo, asked) in table {
        let socks = Socks::start(login, &[], &[(&format!("films.test:{port}"), bench.server.address())]);
        let by = socks.url(scheme, userinfo);
        for (name, value) in [("--proxy", &by), ("all_proxy", &by), ("HTTP_PROXY", &by)] {
            let mut arguments = vec![url.as_str(), "--force", "--resolve", &resolve];
            if name == "--proxy" {
                arguments.extend([name, value.as_str()]);
            }
            let mut command = bench.get(&arguments);
            let ran = Ran::of(command.env(name, value).output().expect("regrip runs"));
            assert_eq!(ran.code, Some(0), "{scheme} {name}: {ran:?}");
            bench.assert_is("film", Content::new(1, 300_000));
            assert_eq!(socks.seen().last(), Some(&asked), "{scheme} {name}");
            assert!(!ran.err.contains("s3"), "{ran:?}");
        }
        assert_eq!(socks.seen().len(), 3);
        let last = bench.server.log().pop().expect("a request");
        assert_eq!((last.path.as_str(), last.header("proxy-authorization")), ("/film", None));
    }
}

#[test]
fn an_ipv6_address_goes_to_a_socks_proxy_as_such() {
    let bench = bench();
    let authority = format!("[::1]:{}", bench.server.address().port());
    for scheme in ["socks5", "socks5h"] {
        let socks = Socks::start(None, &[], &[(&authority, bench.server.address())]);
        let ran = bench.run(&[&named(&bench, "[::1]"), "--force", "--proxy", &socks.url(scheme, "")]);
        assert_eq!(ran.code, Some(0), "{scheme}: {ran:?}");
        assert_eq!(socks.seen(), [format!("v6 {authority}")]);
    }
}

#[test]
fn https_goes_through_a_socks_proxy_and_resumes_through_it() {
    let film = FileScript::honest(Version::new(1, 300_000).etag("\"v1\"")).answer([Cut::after(100_000)]);
    let bench = Bench::serving_tls(Script::one("/film", film));
    let socks = Socks::start(Some("me:hunter2"), &[], &[]);
    let by = socks.url("socks5h", "me:hunter2@");
    let ran = bench.run(&[&bench.url("/film"), "--cacert", "ca.pem", "--proxy", &by]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(1, 300_000));
    let asked = format!("v4 {}", bench.server.address());
    assert_eq!(socks.seen(), [asked.clone(), asked]);
    assert!(!ran.err.contains("hunter2"), "{ran:?}");
}

#[test]
fn a_refusal_of_a_socks_proxy_is_named_and_asked_again_only_if_the_network_caused_it() {
    let bench = bench();
    let table = [
        (1, "general failure", true),
        (2, "not allowed by its rules", false),
        (3, "network unreachable", true),
        (4, "host unreachable", true),
        (5, "connection refused", true),
        (6, "time to live expired", true),
        (7, "command not supported", false),
        (8, "address type not supported", false),
        (99, "unknown reason", false),
    ];
    for (code, why, by_network) in table {
        let socks = Socks::start(None, &[code, code], &[]);
        let by = socks.url("socks5h", "");
        let ran = bench.run(&[&bench.url("/film"), "--force", "--max-attempts", "2", "--proxy", &by]);
        assert_eq!(ran.code, Some(1), "{code}: {ran:?}");
        assert!(ran.err.contains(&format!("the proxy refused: {why}")), "{code}: {}", ran.err);
        assert_eq!(socks.seen().len(), if by_network { 2 } else { 1 }, "{code}");
    }
    assert!(bench.server.log().is_empty());
}

#[test]
fn a_socks_proxy_whose_login_is_wrong_or_missing_is_permanent_and_no_password_is_shown() {
    for (login, userinfo, why) in [
        (Some("me:other"), "me:hunter2@", "wrong user or password"),
        (Some("me:other"), "", "wants a user and a password"),
    ] {
        let bench = bench();
        let socks = Socks::start(login, &[], &[]);
        let ran = bench.run(&[&bench.url("/film"), "--proxy", &socks.url("socks5h", userinfo)]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("the proxy refused: ") && ran.err.contains(why), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        assert!(!ran.err.contains("attempt 2"), "{}", ran.err);
    }
}
