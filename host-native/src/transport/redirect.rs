//! Follows redirects, at most ten (RFC 9110 §15.4).
//!
//! Invariants: what crosses to another origin is [`CROSSING`], and nothing else; a chain that returns to the origin it
//! started at has all headers again there, as with curl; https never becomes http; the next request's [`Reach`] follows from who sent the redirect. A redirect's own headers (Retry-After)
//! end with it. Only GET and HEAD are followed: nothing else is sent twice. A request with [`StaysHere`] is not followed either.

use super::address_policy::Reach;
use super::client::{Head, WireHeaders, head};
use super::errors::into_surf;
use super::options::{Origin, known_scheme};
use hyper::header::{self, HeaderMap, HeaderName};
use regrip_core::{Error, display_url};
use std::fmt;
use surf::http::Method;
use surf::middleware::{Middleware, Next};
use surf::utils::async_trait;
use surf::{Client, Request, Response, Url};

/// Most redirects of one request.
const MAX_HOPS: usize = 10;

/// What another origin gets to see: who asks, and for what. A list of what may cross, not of what may not, so that a header
/// nobody thought of stays at home.
const CROSSING: [HeaderName; 6] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::IF_RANGE, header::RANGE, header::REFERER, header::USER_AGENT];

/// The redirect is the answer: a request that is signed for its host cannot be sent to another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaysHere;

/// The middleware that follows redirects.
pub(super) struct FollowRedirects;

#[async_trait]
impl Middleware for FollowRedirects {
    async fn handle(&self, first: Request, client: Client, next: Next<'_>) -> surf::Result<Response> {
        if !matches!(first.method(), Method::Get | Method::Head) || first.ext::<StaysHere>().is_some() {
            return next.run(first, client).await;
        }
        let mut request = duplicate(&first);
        for _ in 0..=MAX_HOPS {
            let (url, reach) = (request.url().clone(), reach(&request));
            let crossed = Crossed::between(&first, &request);
            let mut response = next.run(request, client.clone()).await?;
            let Some(head) = head(&response) else {
                return Ok(response);
            };
            if is_redirect(head.status) {
                request = onward(&first, &url, reach, head).map_err(into_surf)?;
                continue;
            }
            let Some(crossed) = crossed else {
                return Ok(response);
            };
            // To a range, a 403 may refuse just that: the core asks for the whole file then.
            if matches!(head.status, 401 | 403) && crossed.lost_headers(&first) {
                return Err(into_surf(crossed.denied(head.status)));
            }
            let fields: &mut surf::http::Response = response.as_mut();
            fields.ext_mut().insert(crossed);
            return Ok(response);
        }
        Err(into_surf(Error::RedirectRefused(format!("more than {MAX_HOPS} redirects in a row"))))
    }
}

/// A redirect to another origin: travels with the response, for whoever cannot use that.
#[derive(Clone, Debug)]
pub(super) struct Crossed {
    /// Where it leads, without query.
    to: String,
    /// The origin that was asked.
    from: String,
    /// Names of the headers that did not go along.
    left_behind: Vec<String>,
}

impl Crossed {
    /// What a chain that began with `first` left behind, if `last` goes to another origin.
    fn between(first: &Request, last: &Request) -> Option<Crossed> {
        if Origin::of(first.url()) == Origin::of(last.url()) {
            return None;
        }
        let goes_along = |name: &&HeaderName| {
            let wire = last.ext::<WireHeaders>();
            wire.is_some_and(|wire| wire.0.contains_key(*name))
        };
        let given = first.ext::<WireHeaders>().map(|wire| wire.0.keys());
        let left = given.into_iter().flatten().filter(|name| !goes_along(name));
        Some(Crossed {
            to: display_url(last.url().as_str()),
            from: first.url().origin().ascii_serialization(),
            left_behind: left.map(HeaderName::to_string).collect(),
        })
    }

    /// Headers stayed behind that may be why a request for the whole of something was refused.
    fn lost_headers(&self, first: &Request) -> bool {
        let ranged = first.ext::<WireHeaders>().is_some_and(|wire| wire.0.contains_key(header::RANGE));
        !self.left_behind.is_empty() && !ranged
    }

    /// The other origin refused a request that lost its credentials on the way.
    fn denied(&self, status: u16) -> Error {
        refused(&format!("{self}; the answer there is {status}"))
    }
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.to)?;
        if self.left_behind.is_empty() {
            return Ok(());
        }
        write!(f, ", and {} stays at {}", self.left_behind.join(", "), self.from)
    }
}

/// 300 and 304 offer or confirm something, they do not redirect; 305 and 306 are obsolete.
fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// `clone` leaves the `ext()` behind, and the body, which a GET does not have.
fn duplicate(request: &Request) -> Request {
    let mut copy = request.clone();
    if let Some(headers) = request.ext::<WireHeaders>() {
        copy.set_ext(headers.clone());
    }
    if let Some(reach) = request.ext::<Reach>() {
        copy.set_ext(*reach);
    }
    copy
}

fn reach(request: &Request) -> Reach {
    let reach = request.ext::<Reach>().copied();
    reach.unwrap_or(Reach::Loopback)
}

/// The request that a redirect leads to. `url` sent it, `first` began the chain.
fn onward(first: &Request, url: &Url, reach: Reach, redirect: &Head) -> Result<Request, Error> {
    let mut onward = Request::new(first.method(), target(url, &redirect.headers)?);
    let mut wire = first.ext::<WireHeaders>().cloned().unwrap_or_default();
    if Origin::of(onward.url()) == Origin::of(first.url()) {
        for (name, values) in first.iter() {
            for value in values {
                onward.append_header(name.clone(), value.clone());
            }
        }
    } else {
        wire.0 = crossing(&wire.0);
    }
    onward.set_ext(wire);
    onward.set_ext(reach.after(redirect.peer));
    Ok(onward)
}

fn crossing(headers: &HeaderMap) -> HeaderMap {
    let fields = headers.iter().filter(|(name, _)| CROSSING.contains(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Where a redirect leads, as RFC 3986 §5 resolves it: `//host` and relative references included.
fn target(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let mut locations = headers.get_all(header::LOCATION).iter();
    let location = locations.next().filter(|location| !location.is_empty());
    let location = location.ok_or_else(|| refused("it has no Location"))?;
    if locations.any(|other| other != location) {
        return Err(refused("it has several Locations"));
    }
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| refused("its Location is not UTF-8"))?;
    let mut url = from.join(location).map_err(|_| refused("its Location is not a valid URL"))?;
    match (from.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => {
            return Err(refused(&format!("from https to {}", display_url(url.as_str()))));
        }
        _ => {
            let scheme = known_scheme(&url).unwrap_or("not known");
            return Err(refused(&format!("the scheme is {scheme}")));
        }
    }
    url.set_fragment(None);
    // Credentials that a server makes up are not ours to send.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

fn refused(why: &str) -> Error {
    Error::RedirectRefused(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn lead(from: &str, locations: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(header::LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        }
        let url = target(&Url::parse(from).unwrap(), &headers);
        url.map(String::from).map_err(|error| error.to_string())
    }

    #[test]
    fn a_location_is_resolved_against_the_url_that_sent_it() {
        let table = [
            ("http://a.test/x/y?q", "z", "http://a.test/x/z"),
            ("http://a.test/x/y?q", "/z?r", "http://a.test/z?r"),
            ("http://a.test/x/y?q", "?r", "http://a.test/x/y?r"),
            ("http://a.test/x/y?q", "../z", "http://a.test/z"),
            ("http://a.test/x/y?q", "#z", "http://a.test/x/y?q"),
            ("http://a.test/x", "//b.test/z", "http://b.test/z"),
            ("https://a.test/x", "//b.test/z", "https://b.test/z"),
            ("http://a.test/x", "https://a.test/x", "https://a.test/x"),
            ("http://a.test/x", "HTTP://B.TEST:80/z", "http://b.test/z"),
            ("http://a.test/x", "http://b.test/z#part", "http://b.test/z"),
            ("http://a.test/x", "http://me:secret@b.test/z", "http://b.test/z"),
            ("http://a.test/x", "/\u{e9}", "http://a.test/%C3%A9"),
            ("http://a.test/x", "http://0x7f.1/", "http://127.0.0.1/"),
            ("http://a.test/x", "http://2130706433/", "http://127.0.0.1/"),
        ];
        for (from, location, to) in table {
            assert_eq!(lead(from, &[location]).as_deref(), Ok(to), "{from} to {location}");
        }
    }

    // X06
    #[test]
    fn a_location_that_leads_nowhere_good_is_refused() {
        let table: [(&str, &[&str], &str); 10] = [
            ("http://a.test/", &[], "it has no Location"),
            ("http://a.test/", &[""], "it has no Location"),
            ("http://a.test/", &["me:secret@b.test"], "the scheme is not known"),
            ("http://a.test/", &["/b", "/c"], "it has several Locations"),
            ("http://a.test/", &["http://"], "its Location is not a valid URL"),
            ("http://a.test/", &["http://[1"], "its Location is not a valid URL"),
            ("http://a.test/", &["file:///etc/passwd"], "the scheme is file"),
            ("http://a.test/", &["gopher://a.test/"], "the scheme is gopher"),
            ("https://a.test/", &["data:,x"], "the scheme is data"),
            ("https://a.test/", &["http://a.test/z?key=secret"], "from https to http://a.test/z"),
        ];
        for (from, locations, why) in table {
            let told = lead(from, locations).unwrap_err();
            assert_eq!(told, format!("a redirect was refused: {why}"), "{from} to {locations:?}");
        }
    }
}
