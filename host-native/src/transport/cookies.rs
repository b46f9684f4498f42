//! Cookies (RFC 6265): those that responses set are kept in memory, beside those of a user's file, and sent back to whom they
//! belong.
//!
//! It stands below the redirects, so that every response counts, the redirects and the errors included, and a redirect that
//! sets a cookie is followed with it. Invariant: a value goes nowhere but into a request that RFC 6265 §5.4 sends it with;
//! nothing prints one.
//!
//! No list of public suffixes is used (it would be a tenth of the program). A cookie for a name without a dot in it is
//! refused, and so is one for what looks like a suffix of a country (`co.uk`).

use super::client::{Head, WireHeaders, head};
use crate::sync::lock;
use cookie_store::{Cookie, CookieDomain, CookieStore};
use hyper::header::{self, HeaderMap, HeaderValue};
use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;
use surf::middleware::{Middleware, Next};
use surf::utils::async_trait;
use surf::{Client, Request, Response, Url};
use url::Host;

/// Longest cookie, with its attributes.
const MAX_COOKIE_BYTES: usize = 8 * 1024;

/// Most cookies of one domain.
const MAX_OF_DOMAIN: usize = 50;

/// Most cookies.
const MAX_COOKIES: usize = 1000;

/// Longest `Cookie` header of ours.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Cookies that a user has. `Debug` does not print them.
#[derive(Clone, Default)]
pub struct CookieJar(CookieStore);

/// A line of a cookie file that is not a cookie: its number, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {0} is not a cookie (7 fields separated by tabs: domain, subdomains, path, secure, expires, name, value)"
)]
pub struct NotACookie(pub usize);

impl CookieJar {
    /// Reads a cookie file as browsers and curl export it (Netscape's format). Cookies that expired are left out.
    ///
    /// # Errors
    /// The first line that is neither a cookie nor a comment.
    pub fn parse(file: &[u8]) -> Result<CookieJar, NotACookie> {
        let mut store = CookieStore::default();
        let text: String = file.iter().map(|&byte| char::from(byte)).collect();
        for (index, line) in text.lines().enumerate() {
            let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (url, max_age, cookie) = given(line).ok_or(NotACookie(index + 1))?;
            let cookie = Cookie::parse(cookie, &url).map_err(|_| NotACookie(index + 1))?;
            if max_age > 0 {
                let _ = store.insert(cookie.into_owned(), &url);
            }
        }
        Ok(CookieJar(store))
    }

    /// Returns `true` if a request for this URL carries one of them.
    pub fn has_any_for(&self, url: &Url) -> bool {
        !self.0.matches(url).is_empty()
    }
}

/// A URL that may set the cookie of a line, the seconds it has left, and the cookie as a response sets it.
fn given(line: &str) -> Option<(Url, i64, String)> {
    let fields: Vec<&str> = line.trim_end_matches(['\r', '\n']).split('\t').collect();
    let (&[domain, subdomains, path, secure, expires, name], value) = match &fields[..] {
        [start @ .., value] if start.len() == 6 => (start.first_chunk::<6>()?, *value),
        start if start.len() == 6 => (start.first_chunk::<6>()?, ""),
        _ => return None,
    };
    let flag = |text: &str| match text.to_ascii_uppercase().as_str() {
        "TRUE" => Some(true),
        "FALSE" => Some(false),
        _ => None,
    };
    let is_text = |text: &str| !text.contains(|letter: char| letter.is_ascii_control() || letter == ';');
    if name.is_empty() || name.contains('=') || !path.starts_with('/') || ![path, name, value].into_iter().all(is_text)
    {
        return None;
    }
    let domain = domain.trim_start_matches('.');
    let url = Url::parse(&format!("https://{domain}/")).ok().filter(|url| url.path() == "/" && url.port().is_none())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let max_age = match expires.split('.').next()?.parse::<i64>().ok()? {
        at @ 1.. => at.saturating_sub_unsigned(now).clamp(0, YEAR),
        _ => YEAR, // of the session
    };
    let domain = match url.host()? {
        Host::Domain(domain) if flag(subdomains)? => format!("; Domain={domain}"),
        _ => String::new(),
    };
    let secure = if flag(secure)? { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path={path}; Max-Age={max_age}{domain}{secure}");
    Some((url, max_age, cookie))
}

/// In seconds: longer than any run.
const YEAR: i64 = 366 * 86_400;

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The middleware that keeps them and sends them.
#[derive(Default)]
pub(super) struct Cookies {
    store: Mutex<CookieStore>,
    /// How many were given by the user; the bounds are for the others.
    given: usize,
}

#[async_trait]
impl Middleware for Cookies {
    async fn handle(&self, mut request: Request, client: Client, next: Next<'_>) -> surf::Result<Response> {
        let url = request.url().clone();
        let mut wire = request.ext::<WireHeaders>().cloned().unwrap_or_default();
        if let Some(value) = self.header(&url, &wire.0) {
            wire.0.insert(header::COOKIE, value);
            request.set_ext(wire);
        }
        let response = next.run(request, client).await?;
        if let Some(head) = head(&response) {
            self.keep(&url, head);
        }
        Ok(response)
    }
}

impl Cookies {
    pub(super) fn new(CookieJar(store): CookieJar) -> Cookies {
        let given = store.iter_any().count();
        Cookies { store: Mutex::new(store), given }
    }

    fn keep(&self, url: &Url, head: &Head) {
        for value in head.headers.get_all(header::SET_COOKIE) {
            let text = value.as_bytes().iter().map(|&byte| char::from(byte));
            let text: String = text.collect();
            if text.len() > MAX_COOKIE_BYTES {
                continue;
            }
            if let Ok(cookie) = Cookie::parse(text, url) {
                insert(&mut lock(&self.store), self.given, cookie.into_owned(), url);
            }
        }
    }

    /// The `Cookie` header of a request, if any cookie that was kept belongs into it: the user's own cookies first, without
    /// those that the server has set anew.
    fn header(&self, url: &Url, given: &HeaderMap) -> Option<HeaderValue> {
        let store = lock(&self.store);
        let mut kept = store.matches(url);
        if kept.is_empty() {
            return None;
        }
        // RFC 6265 §5.4: the longer path first.
        kept.sort_by_key(|cookie| (usize::MAX - cookie.path.len(), cookie.name().to_owned()));
        let replaced = |pair: &str| {
            let name = pair.split('=').next().unwrap_or(pair).trim();
            kept.iter().any(|cookie| cookie.name() == name)
        };
        let given = given.get_all(header::COOKIE).iter().map(latin_1);
        let given: Vec<String> = given.collect();
        let given = given.iter().flat_map(|value| value.split(';'));
        let given = given.map(str::trim).filter(|pair| !pair.is_empty());
        let mut pairs: Vec<String> = given.filter(|pair| !replaced(pair)).map(str::to_owned).collect();
        let mut length = 0;
        for cookie in &kept {
            let pair = format!("{}={}", cookie.name(), cookie.value());
            length += pair.len();
            if length <= MAX_HEADER_BYTES {
                pairs.push(pair);
            }
        }
        let bytes = pairs.join("; ").chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        let mut value = HeaderValue::from_bytes(&bytes.ok()?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn latin_1(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|&byte| char::from(byte)).collect()
}

/// Keeps a cookie within the bounds, which do not count `given` ones. One that replaces another is always taken.
fn insert(store: &mut CookieStore, given: usize, cookie: Cookie<'static>, url: &Url) {
    let (CookieDomain::HostOnly(domain) | CookieDomain::Suffix(domain)) = &cookie.domain else {
        return;
    };
    let wide = matches!(cookie.domain, CookieDomain::Suffix(_)) && url.host_str() != Some(domain);
    if wide && is_public_suffix(domain) {
        return;
    }
    if !store.contains_any(domain, &cookie.path, cookie.name()) {
        let of_domain = |other: &&Cookie<'_>| other.domain.as_cow() == cookie.domain.as_cow();
        let count = store.iter_any().filter(of_domain).count();
        if count >= MAX_OF_DOMAIN + given || store.iter_any().count() >= MAX_COOKIES + given {
            return;
        }
    }
    // A cookie for another domain, or one that is over already, is not kept.
    let _ = store.insert(cookie, url);
}

/// Returns `true` for a domain that many owners share, judged by its form: one label, or a short one below a country.
fn is_public_suffix(domain: &str) -> bool {
    let mut labels = domain.trim_matches('.').rsplit('.');
    match (labels.next(), labels.next(), labels.next()) {
        (_, None, _) => true,
        (Some(country), Some(below), None) => country.len() == 2 && below.len() <= 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn set(cookies: &Cookies, from: &str, values: &[&str]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let head = Head { status: 302, headers, peer: None };
        cookies.keep(&url(from), &head);
    }

    fn sent(cookies: &Cookies, to: &str, given: &[&'static str]) -> Option<String> {
        let given = given.iter().map(|value| (header::COOKIE, HeaderValue::from_static(value)));
        let value = cookies.header(&url(to), &given.collect())?;
        assert!(value.is_sensitive());
        Some(String::from_utf8(value.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_cookie_goes_back_to_whom_it_belongs() {
        let from = "https://www.a.test/x/y";
        let table = [
            ("k=v", "https://www.a.test/x/z", true),
            ("k=v", "http://www.a.test/x/z", true),
            ("k=v", "https://www.a.test:8443/x/z", true),
            ("k=v", "https://www.a.test/z", false),
            ("k=v; Path=/", "https://www.a.test/z", true),
            ("k=v; Path=/", "https://files.a.test/", false),
            ("k=v; Path=/", "https://a.test/", false),
            ("k=v; Path=/; Domain=a.test", "https://files.a.test/", true),
            ("k=v; Path=/; Domain=.a.test", "https://a.test/", true),
            ("k=v; Path=/; Domain=a.test", "https://b.test/", false),
            ("k=v; Path=/; Domain=a.test", "https://nota.test/", false),
            ("k=v; Path=/; Domain=b.test", "https://b.test/", false),
            ("k=v; Path=/; Domain=files.a.test", "https://files.a.test/", false),
            ("k=v; Path=/; Domain=test", "https://b.test/", false),
            ("k=v; Path=/; Secure", "http://www.a.test/", false),
            ("k=v; Path=/; Secure", "https://www.a.test/", true),
            ("k=v; Path=/; HttpOnly; SameSite=Strict", "https://www.a.test/", true),
            ("k=v; Path=/; Max-Age=0", "https://www.a.test/", false),
            ("k=v; Path=/; Max-Age=60", "https://www.a.test/", true),
            ("k=v; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.a.test/", false),
        ];
        for (cookie, to, is_sent) in table {
            let cookies = Cookies::default();
            set(&cookies, from, &[cookie]);
            let expected = is_sent.then(|| "k=v".to_owned());
            assert_eq!(sent(&cookies, to, &[]), expected, "{cookie} to {to}");
        }
    }

    #[test]
    fn a_cookie_is_not_spread_over_all_names_of_a_suffix() {
        for (from, domain, to) in [
            ("http://a.co.uk/", "co.uk", "http://b.co.uk/"),
            ("http://a.com.au/", "com.au", "http://b.com.au/"),
            ("http://a.com/", "com", "http://b.com/"),
        ] {
            let cookies = Cookies::default();
            set(&cookies, from, &[&format!("k=v; Domain={domain}")]);
            assert_eq!(sent(&cookies, to, &[]), None, "{domain}");
        }
        let cookies = Cookies::default();
        set(&cookies, "http://www.bbc.example.uk/", &["k=v; Domain=example.uk"]);
        assert!(sent(&cookies, "http://example.uk/", &[]).is_some());
    }

    #[test]
    fn a_cookie_that_is_set_again_is_replaced_and_one_that_expires_is_gone() {
        let cookies = Cookies::default();
        set(&cookies, "http://a.test/", &["k=1", "l=2"]);
        set(&cookies, "http://a.test/", &["k=3"]);
        assert_eq!(sent(&cookies, "http://a.test/", &[]).as_deref(), Some("k=3; l=2"));
        set(&cookies, "http://a.test/", &["k=; Max-Age=0"]);
        assert_eq!(sent(&cookies, "http://a.test/", &[]).as_deref(), Some("l=2"));
    }

    #[test]
    fn the_users_own_cookies_come_first_and_give_way_to_what_the_server_sets_anew() {
        let cookies = Cookies::default();
        let given = ["mine=1; session=old", "more=2"];
        assert_eq!(sent(&cookies, "http://a.test/", &given), None);
        set(&cookies, "http://a.test/", &["session=new", "other=x; Path=/deep/"]);
        assert_eq!(
            sent(&cookies, "http://a.test/deep/", &given).as_deref(),
            Some("mine=1; more=2; other=x; session=new")
        );
    }

    #[test]
    fn cookies_are_bounded_and_what_is_no_cookie_is_ignored() {
        let cookies = Cookies::default();
        let long = format!("long={}", "x".repeat(MAX_COOKIE_BYTES));
        set(&cookies, "http://a.test/", &["", ";;", "=", &long]);
        assert_eq!(sent(&cookies, "http://a.test/", &[]), None);
        for number in 0..2 * MAX_OF_DOMAIN {
            set(&cookies, "http://a.test/", &[&format!("k{number}={}", "x".repeat(1000))]);
        }
        set(&cookies, "http://a.test/", &["k0=new"]);
        let header = sent(&cookies, "http://a.test/", &[]).unwrap();
        assert!(header.len() < MAX_HEADER_BYTES + 1000 && header.starts_with("k0=new; "));
        for number in 0..2 * MAX_COOKIES {
            set(&cookies, &format!("http://{number}.test/"), &["k=v"]);
        }
        assert_eq!(lock(&cookies.store).iter_any().count(), MAX_COOKIES);
    }

    #[test]
    fn a_cookie_of_a_file_goes_to_whom_the_file_says() {
        let table = [
            ("a.test\tFALSE\t/\tFALSE\t0\tk\tv", "http://a.test:81/x", true),
            (".a.test\tFALSE\t/\tFALSE\t0\tk\tv", "http://a.test/", true),
            ("a.test\tFALSE\t/\tFALSE\t0\tk\tv", "http://www.a.test/", false),
            ("a.test\tTRUE\t/\tFALSE\t0\tk\tv", "http://www.a.test/", true),
            ("a.test\tTRUE\t/\tFALSE\t0\tk\tv", "http://nota.test/", false),
            ("#HttpOnly_.A.test\ttrue\t/\tfalse\t-1\tk\tv", "http://a.test/", true),
            ("a.test\tTRUE\t/\tTRUE\t0\tk\tv", "http://a.test/", false),
            ("a.test\tTRUE\t/\tTRUE\t0\tk\tv", "https://a.test/", true),
            ("a.test\tTRUE\t/x\tFALSE\t0\tk\tv", "http://a.test/y", false),
            ("a.test\tTRUE\t/x\tFALSE\t0\tk\tv", "http://a.test/x/y", true),
            ("a.test\tTRUE\t/\tFALSE\t1000000000\tk\tv", "http://a.test/", false),
            ("a.test\tTRUE\t/\tFALSE\t99999999999.5\tk\tv", "http://a.test/", true),
            ("10.0.0.1\tTRUE\t/\tFALSE\t0\tk\tv", "http://10.0.0.1/", true),
            ("# a.test\tTRUE\t/\tFALSE\t0\tk\tv", "http://a.test/", false),
        ];
        for (line, to, is_sent) in table {
            let jar = CookieJar::parse(format!("\r\n{line}\r\n").as_bytes()).unwrap();
            assert_eq!(jar.has_any_for(&url(to)), is_sent, "{line} to {to}");
            assert_eq!(sent(&Cookies::new(jar), to, &[]), is_sent.then(|| "k=v".to_owned()), "{line} to {to}");
        }
    }

    #[test]
    fn cookies_of_a_file_leave_room_for_those_of_servers() {
        let line = |number| format!("a.test\tFALSE\t/\tFALSE\t0\tk{number}\tv\n");
        let file: String = (0..MAX_COOKIES).map(line).collect();
        let cookies = Cookies::new(CookieJar::parse(file.as_bytes()).unwrap());
        set(&cookies, "http://a.test/", &["new=1; Path=/deep/"]);
        assert!(sent(&cookies, "http://a.test/deep/", &[]).unwrap().starts_with("new=1; "));
    }
}
