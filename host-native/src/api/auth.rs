//! Decides which requests may use the API.
//!
//! With a configured key: requests with the key in `X-Api-Key`, or with the cookie of a session. Without one: only this
//! machine, under its own name ([`Access::Loopback`]). A key in the URL opens nothing. A session ends when the key is
//! changed.
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
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

/// The cookie's name.
const COOKIE_NAME: &str = "regrip_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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

    /// Opens a session of the download client's API. Returns its token, or "" if no key is needed; `None` if the key is wrong.
    pub(super) fn log_in_client(
        &self,
        key: &str,
        headers: &HeaderMap,
        from: SocketAddr,
    ) -> Result<Option<String>, Refusal> {
        let (Some(keys), key_changes) = self.keys.get() else {
            return Ok(Some(String::new()));
        };
        if !keys.fits(key.as_bytes()) {
            return Ok(None);
        }
        let program = headers.get(USER_AGENT).map_or(&b""[..], |name| name.as_bytes());
        let token = self.sessions.begin(Client::new(from.ip(), program), key_changes);
        Ok(Some(token.map_err(no_random)?))
    }

    /// Ends a session of the download client's API.
    pub(super) fn log_out_client(&self, token: &str) {
        self.sessions.end(token);
    }

    /// Decides on a request to the download client's API: like the others, but with its own cookie (see
    /// [`client_session`]) and with forms, which that API has; pages of other sites are refused by `Origin`, `Sec-Fetch-Site`
    /// and `SameSite`.
    pub(super) fn check_client(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        let headers = &head.headers;
        match self.keys.get() {
            (None, _) => Access::Loopback.check(headers, from)?,
            (Some(_), _) if entry == Entry::Keyless => {}
            (Some(keys), _) if headers.contains_key(&X_API_KEY) => Access::Keys(keys).check(headers, from)?,
            (Some(_), key_changes) => match client_session(headers) {
                Some((token, _)) if self.sessions.holds(token, key_changes) => {}
                _ => return Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden", "Forbidden")),
            },
        }
        match is_own_origin(headers) && !is_from_another_site(head) {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::UNAUTHORIZED, "ForeignOrigin", "Unauthorized")),
        }
    }

    /// Ends the session of the request's cookie. Returns the `Set-Cookie` that removes it.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        tokens(headers, COOKIE_NAME).for_each(|token| self.sessions.end(token));
        set_cookie("", 0, headers)
    }

    fn holds_session(&self, headers: &HeaderMap, key_changes: u64) -> Result<(), Refusal> {
        let mut tokens = tokens(headers, COOKIE_NAME);
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

/// The tokens of a request: other paths of this host may have set cookies of the same name.
fn tokens<'a>(headers: &'a HeaderMap, wanted: &'static str) -> impl Iterator<Item = &'a str> {
    let cookies = headers.get_all(COOKIE).iter();
    let pairs = cookies.filter_map(|cookie| cookie.to_str().ok());
    let pairs = pairs.flat_map(|cookie| cookie.split(';'));
    pairs.filter_map(move |pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    })
}

/// Token and user name, in hex, of a request to the download client's API. The name is not secret and proves nothing: who logs in
/// may choose any.
pub(super) fn client_session(headers: &HeaderMap) -> Option<(&str, &str)> {
    tokens(headers, "SID").next()?.split_once('.')
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
