//! Decides which requests may use the API.
//!
//! With a configured key: requests with the key in `X-Api-Key`, or with the cookie of a session. Without one: only this
//! machine, under its own name ([`Access::Loopback`]). A key in the URL opens Torznab, whose clients send it there, and nothing
//! else. A session ends when the key is changed.
//!
//! Against other sites' pages in a user's browser, which can send requests along with the cookie, or from this machine:
//! the cookie is `SameSite=Strict`; an `Origin` must be the server's own; a request that says it comes from another site
//! (`Sec-Fetch-Site`) is refused; and a body must be said to be JSON, which no form can.

use super::sessions::{Client, LIFE, Sessions};
use super::{Api, Handled};
use crate::ledger::NativeLedger;
use crate::server::{
    Access, Asked, CurrentKeys, Entry, Guard, Payload, Refusal, Reply, X_API_KEY, is_json, is_own_origin, not_json,
    only, unauthorized,
};
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderName, SET_COOKIE, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use smol::channel::Receiver;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

/// The cookie's name.
const COOKIE_NAME: &str = "regrip_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The API's guard.
#[derive(Debug)]
pub(super) struct Auth {
    keys: CurrentKeys,
    sessions: Sessions,
}

impl Auth {
    /// The guard that these keys open; without any, only this machine is served.
    pub(super) fn new(keys: CurrentKeys) -> Auth {
        Auth { keys, sessions: Sessions::default() }
    }

    /// A channel that is closed once the key is changed. Streams that began before end then.
    pub(super) fn until_key_change(&self) -> Receiver<()> {
        self.keys.until_change()
    }

    /// Opens a session with the key. Returns the `Set-Cookie` of it; none if no key is needed.
    pub(super) fn log_in(&self, key: &str, headers: &HeaderMap, from: SocketAddr) -> Result<Option<String>, Refusal> {
        let (Some(keys), key_changes) = self.keys.get() else {
            return Ok(None);
        };
        if !keys.fits(key.as_bytes()) {
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "this is not the server's key");
            return Err(refusal.wrong_key());
        }
        let program = headers.get(USER_AGENT).map_or(&b""[..], |name| name.as_bytes());
        let client = Client::new(from.ip(), program);
        let token = self.sessions.begin(client, key_changes);
        let token = token.map_err(no_random)?;
        Ok(Some(set_cookie(&token, LIFE.as_secs(), headers)))
    }

    /// Ends the session of the request's cookie. Returns the `Set-Cookie` that removes it.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        tokens(headers).for_each(|token| self.sessions.end(token));
        set_cookie("", 0, headers)
    }

    fn holds_session(&self, headers: &HeaderMap, key_changes: u64) -> Result<(), Refusal> {
        let mut tokens = tokens(headers);
        match tokens.any(|token| self.sessions.holds(token, key_changes)) {
            true => Ok(()),
            false => Err(unauthorized()),
        }
    }
}

impl Guard for Auth {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        let headers = &head.headers;
        if entry == Entry::Anyone {
            return Ok(());
        }
        match self.keys.get() {
            (None, _) => Access::Loopback.check(headers, from)?,
            (Some(_), _) if entry == Entry::Keyless => {}
            (Some(keys), _) if headers.contains_key(&X_API_KEY) => {
                Access::Keys(keys).check(headers, from)?;
            }
            (Some(keys), key_changes) if entry == Entry::QueryKeyed => match query_key(pairs(head)) {
                Some(key) if keys.fits(key.as_bytes()) => {}
                Some(_) => return Err(unauthorized().wrong_key()),
                None => self.holds_session(headers, key_changes)?,
            },
            (Some(_), key_changes) => self.holds_session(headers, key_changes)?,
        }
        if !is_own_origin(headers) || is_from_another_site(head) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "ForeignOrigin",
                "the request was sent by another site's page",
            ));
        }
        if headers.contains_key(CONTENT_TYPE) && !is_json(headers) {
            return Err(not_json());
        }
        Ok(())
    }
}

/// Returns `true` if a browser sent the request for another site's page. Links to the page itself are allowed anywhere.
fn is_from_another_site(head: &Parts) -> bool {
    let site = only(&head.headers, &SEC_FETCH_SITE);
    let foreign = site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"));
    foreign && !(head.method == Method::GET && head.uri.path() == "/")
}

fn pairs(head: &Parts) -> url::form_urlencoded::Parse<'_> {
    url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
}

/// The first parameter `apikey` of a query that is not empty.
pub(super) fn query_key<'a>(mut pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Option<Cow<'a, str>> {
    pairs.find(|(name, value)| name == "apikey" && !value.is_empty()).map(|(_, value)| value)
}

/// The tokens of a request: other paths of this host may have set cookies of the same name.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).iter();
    let pairs = cookies.filter_map(|cookie| cookie.to_str().ok());
    let pairs = pairs.flat_map(|cookie| cookie.split(';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// `Secure` only if the browser uses TLS, to a proxy in front: otherwise it would not send the cookie back.
fn set_cookie(token: &str, seconds: u64, headers: &HeaderMap) -> String {
    let secure = match only(headers, &X_FORWARDED_PROTO) {
        Some(b"https") => "; Secure",
        _ => "",
    };
    format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

fn no_random(error: io::Error) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "NoRandomNumbers",
        format!("the system has no random numbers: {error}"),
    )
}

pub(super) async fn ping<L: NativeLedger>(_: Arc<Api<L>>, _: Asked) -> Handled {
    Ok(Reply::json(&json!({ "status": "OK" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    key: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

pub(super) async fn log_in<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let login: Login = asked.json().await?;
    let cookie = api.auth.log_in(&login.key, asked.headers(), asked.from())?;
    let reply = Reply::new(StatusCode::NO_CONTENT, Payload::Empty);
    Ok(match cookie {
        Some(cookie) => reply.text_header(SET_COOKIE, &cookie),
        None => reply,
    })
}

pub(super) async fn log_out<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let cookie = api.auth.log_out(asked.headers());
    let reply = Reply::new(StatusCode::NO_CONTENT, Payload::Empty);
    Ok(reply.text_header(SET_COOKIE, &cookie))
}
