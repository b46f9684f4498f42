//! For whom a request is: `Host`, and the authority of a target in absolute form (RFC 9112 §3.2).

use super::reply::Refusal;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Version};

/// Checks `Host`. The authority of a target in absolute form takes its place, whatever it is (RFC 9112 §3.2.2).
///
/// # Errors
/// 400: none or several in HTTP/1.1, several in HTTP/1.0, or what names no host.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::bad_request("the request has several Host fields")),
        (Some(host), None) if is_host(host.as_bytes()) => {}
        (Some(_), None) => return Err(Refusal::bad_request("the Host field names no host")),
        (None, None) if request.version() < Version::HTTP_11 => {}
        (None, None) => return Err(Refusal::bad_request("the request has no Host field")),
    }
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    let web = (uri.scheme_str()).is_none_or(|scheme| matches!(scheme, "http" | "https"));
    let host = HeaderValue::from_str(authority.as_str()).ok();
    match host.filter(|_| web && is_host(authority.as_str().as_bytes())) {
        Some(host) => {
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
        None => Err(Refusal::bad_request(
            "the target of the request names no host",
        )),
    }
}

/// `uri-host [ ":" port ]` with a host in it: an http URI without one is invalid (RFC 9110 §4.2.1).
fn is_host(value: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(value) else {
        return false;
    };
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host());
    let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
    !authority.host().is_empty()
        && !text.contains('@')
        && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(target: &str, version: Version, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        settle(&mut request).ok()?;
        let host = request.headers().get(HOST);
        Some(host.map_or_else(String::new, |host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        let table: [(&str, Version, &[&str], Option<&str>); 23] = [
            ("/", Version::HTTP_11, &["a.test"], Some("a.test")),
            ("/", Version::HTTP_11, &["a.test:80"], Some("a.test:80")),
            ("/", Version::HTTP_11, &["a.test:"], Some("a.test:")),
            ("/", Version::HTTP_11, &["127.0.0.1:1"], Some("127.0.0.1:1")),
            ("/", Version::HTTP_11, &["[::1]:1"], Some("[::1]:1")),
            ("/", Version::HTTP_11, &["[::1]"], Some("[::1]")),
            ("/", Version::HTTP_11, &[], None),
            ("/", Version::HTTP_10, &[], Some("")),
            ("/", Version::HTTP_10, &["a.test"], Some("a.test")),
            ("/", Version::HTTP_10, &["a.test", "a.test"], None),
            ("/", Version::HTTP_11, &["a.test", "b.test"], None),
            ("/", Version::HTTP_11, &["a.test", "a.test"], None),
            ("/", Version::HTTP_11, &[""], None),
            ("/", Version::HTTP_11, &[":80"], None),
            ("/", Version::HTTP_11, &["a.test/"], None),
            ("/", Version::HTTP_11, &["a test"], None),
            ("/", Version::HTTP_11, &["me@a.test"], None),
            ("/", Version::HTTP_11, &["a.test:b"], None),
            ("/", Version::HTTP_11, &["a.test, b.test"], None),
            (
                "http://b.test:1/x",
                Version::HTTP_11,
                &["localhost"],
                Some("b.test:1"),
            ),
            ("http://b.test/x", Version::HTTP_11, &[], None),
            ("http://me@b.test/x", Version::HTTP_11, &["a.test"], None),
            ("ftp://b.test/x", Version::HTTP_11, &["b.test"], None),
        ];
        for (target, version, hosts, wanted) in table {
            let settled = settled(target, version, hosts);
            assert_eq!(settled.as_deref(), wanted, "{target} {version:?} {hosts:?}");
        }
    }
}
