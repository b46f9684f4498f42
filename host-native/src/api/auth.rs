//! Decides which requests may use the API.
//!
//! With a configured key: requests with the key in `X-Api-Key`, or with the cookie of a session. Without one: only this
//! machine, under its own name ([`Access::Loopback`]). A key in the URL opens Torznab, whose clients send it there, and nothing
//! else. A session ends when the key is changed.
//!
//! Against other sites' pages in a user's browser, which can send requests along with the cookie, or from this machine:
//! the cookie is `SameSite=Strict`; an `Origin` must be the server's own; a request that says it comes from another site
//! (`Sec-Fetch-Site`) is refused; and a body must be said to be JSON, which no form can.
//!
//! Sessions are held by a cookie, so that a browser need not keep the key. A session is a random number that is kept as its
//! SHA-256 only; it lives for a month, until the key is changed or the process ends. When there are too many, one makes room
//! that nobody will miss: a program that logs in again and again must not end the session of a person. So each [`Client`] has
//! few, and of those the one goes that is idle for a day, else the one that was used the fewest times, else the youngest.
//!
//! In a fleet a session is not kept: its token is signed with the key, so that every worker accepts it ([`signed`]). Logging out ends
//! it at the worker that is asked, for as long as that runs; a change of the key ends it everywhere.

use super::{Api, Handled, JSON_LINES};
use crate::ledger::NativeLedger;
use crate::server::{
    Access, Asked, ClientNetwork, CurrentKeys, Entry, Guard, Keys, Payload, Refusal, Reply, X_API_KEY, is_json,
    is_of_type, is_own_origin, not_json, only, unauthorized,
};
use crate::sync::lock;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderName, SET_COOKIE, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use smol::channel::Receiver;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
#[cfg(feature = "fleet")]
use std::time::SystemTime;
use std::time::{Duration, Instant};
use std::{fmt, io};
use subtle::{Choice, ConstantTimeEq};

/// The cookie's name.
const COOKIE_NAME: &str = "regrip_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The API's guard.
#[derive(Debug)]
pub(super) struct Auth {
    keys: CurrentKeys,
    sessions: Sessions,
    /// Sessions of any worker are accepted, if it is one of several.
    #[cfg(feature = "fleet")]
    of_fleet: Option<signed::EndedSessions>,
}

impl Auth {
    /// The guard that these keys open; without any, only this machine is served.
    /// With `is_worker` the sessions of other workers with the same key are accepted.
    pub(super) fn new(keys: CurrentKeys, is_worker: bool) -> Auth {
        #[cfg(not(feature = "fleet"))]
        let _ = is_worker;
        Auth {
            keys,
            sessions: Sessions::default(),
            #[cfg(feature = "fleet")]
            of_fleet: is_worker.then(signed::EndedSessions::default),
        }
    }

    fn begin(&self, keys: &Keys, client: Client, key_changes: u64) -> io::Result<String> {
        #[cfg(feature = "fleet")]
        if self.of_fleet.is_some() {
            return signed::token(keys, SystemTime::now());
        }
        let _ = keys;
        self.sessions.begin(client, key_changes)
    }

    fn holds(&self, keys: &Keys, token: &str, key_changes: u64) -> bool {
        #[cfg(feature = "fleet")]
        if let Some(ended) = &self.of_fleet {
            return signed::holds(keys, token, SystemTime::now()) && !ended.has(token);
        }
        let _ = keys;
        self.sessions.holds(token, key_changes)
    }

    fn end(&self, token: &str) {
        #[cfg(feature = "fleet")]
        if let (Some(ended), (Some(keys), _)) = (&self.of_fleet, self.keys.get()) {
            if signed::holds(&keys, token, SystemTime::now()) {
                ended.put(token);
            }
            return;
        }
        self.sessions.end(token);
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
        let token = self.begin(&keys, client, key_changes).map_err(no_random)?;
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
        let token = self.begin(&keys, Client::new(from.ip(), program), key_changes);
        Ok(Some(token.map_err(no_random)?))
    }

    /// Ends a session of the download client's API.
    pub(super) fn log_out_client(&self, token: &str) {
        self.end(token);
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
            (Some(keys), key_changes) => match client_session(headers) {
                Some((token, _)) if self.holds(&keys, token, key_changes) => {}
                // The dashboard fetches what it found.
                _ if self.holds_session(&keys, headers, key_changes).is_ok() => {}
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
        tokens(headers, COOKIE_NAME).for_each(|token| self.end(token));
        set_cookie("", 0, headers)
    }

    fn holds_session(&self, keys: &Keys, headers: &HeaderMap, key_changes: u64) -> Result<(), Refusal> {
        let mut tokens = tokens(headers, COOKIE_NAME);
        match tokens.any(|token| self.holds(keys, token, key_changes)) {
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
                None => self.holds_session(&keys, headers, key_changes)?,
            },
            (Some(keys), key_changes) => self.holds_session(&keys, headers, key_changes)?,
        }
        if !is_own_origin(headers) || is_from_another_site(head) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "ForeignOrigin",
                "the request was sent by another site's page",
            ));
        }
        if headers.contains_key(CONTENT_TYPE) && !is_json(headers) && !is_of_type(headers, JSON_LINES) {
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

/// How long one lives.
pub(super) const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Sessions at once.
const MOST: usize = 512;
/// Sessions of one client at once.
const MOST_OF_A_CLIENT: usize = 32;
/// A session that was not used for this time makes room first.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Who logs in: the same program (`User-Agent`) at the same network is the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client([u8; 32]);

impl Client {
    pub(super) fn new(address: IpAddr, program: &[u8]) -> Client {
        let network = ClientNetwork::of(address).to_string();
        let mut digest = Sha256::new_with_prefix(network.as_bytes());
        digest.update([0]);
        digest.update(program);
        Client(digest.finalize().into())
    }
}

#[derive(Debug)]
struct Session {
    token: [u8; 32],
    client: Client,
    /// The number of key changes before this session began.
    key_changes: u64,
    ends: Instant,
    last_used: Instant,
    uses: u64,
}

/// All sessions, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Vec<Session>>);

impl Sessions {
    /// Begins one and returns its token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn begin(&self, client: Client, key_changes: u64) -> io::Result<String> {
        let token = crate::server::random()?;
        let now = Instant::now();
        let mut sessions = lock(&self.0);
        sessions.retain(|session| session.ends > now && session.key_changes == key_changes);
        make_room(&mut sessions, client, now);
        sessions.push(Session {
            token: digest(&token),
            client,
            key_changes,
            ends: now + LIFE,
            last_used: now,
            uses: 0,
        });
        Ok(token)
    }

    /// Returns `true` if a live session has this token, and counts the use. `key_changes` is the number of key changes so far.
    pub(super) fn holds(&self, token: &str, key_changes: u64) -> bool {
        let given = digest(token);
        let now = Instant::now();
        let mut sessions = lock(&self.0);
        let mut found = Choice::from(0);
        for session in sessions.iter_mut() {
            let alive = session.ends > now && session.key_changes == key_changes;
            let fits = Choice::from(u8::from(alive)) & session.token.ct_eq(&given);
            if fits.into() {
                session.last_used = now;
                session.uses += 1;
            }
            found |= fits;
        }
        found.into()
    }

    /// Ends one.
    pub(super) fn end(&self, token: &str) {
        let given = digest(token);
        lock(&self.0).retain(|session| session.token != given);
    }
}

/// Removes sessions until there is room for another one of a client.
fn make_room(sessions: &mut Vec<Session>, client: Client, now: Instant) {
    let mut of_client: HashMap<Client, usize> = HashMap::new();
    for session in sessions.iter() {
        *of_client.entry(session.client).or_default() += 1;
    }
    let count = |client| of_client.get(&client).copied().unwrap_or_default();
    let has_many = count(client) >= MOST_OF_A_CLIENT;
    if !has_many && sessions.len() < MOST {
        return;
    }
    // Those of this client, or of the client with the most.
    let most = of_client.values().copied().max().unwrap_or_default();
    let least_missed = (sessions.iter().enumerate())
        .filter(|(_, session)| match has_many {
            true => session.client == client,
            false => count(session.client) == most,
        })
        .min_by_key(|(place, session)| {
            let idle = now.saturating_duration_since(session.last_used);
            let idle = Some(idle).filter(|idle| *idle >= IDLE).unwrap_or_default();
            (Reverse(idle), session.uses, Reverse(*place))
        });
    if let Some((place, _)) = least_missed {
        sessions.remove(place);
    }
}

/// Tokens that every worker with the same key accepts: a random number, the end in seconds since 1970, and their HMAC-SHA256 (RFC 2104)
/// by the SHA-256 of the key, in hex.
#[cfg(feature = "fleet")]
mod signed {
    use super::{LIFE, digest, lock};
    use crate::server::{Keys, random};
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Mutex;
    use std::time::SystemTime;

    /// Sessions that were ended and would hold otherwise, at most.
    const MOST_ENDED: usize = 65_536;

    /// A new token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn token(keys: &Keys, now: SystemTime) -> io::Result<String> {
        let end = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + LIFE;
        let said = format!("{}-{}", random()?, end.as_secs());
        let key = keys.digests().first().ok_or(io::ErrorKind::NotFound)?;
        let code = mac(key, &said).ok_or(io::ErrorKind::InvalidInput)?.finalize().into_bytes();
        let code: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{said}-{code}"))
    }

    /// Returns `true` if a worker with this key made the token and its end is still to come.
    pub(super) fn holds(keys: &Keys, token: &str, now: SystemTime) -> bool {
        let Some((said, code)) = token.rsplit_once('-') else {
            return false;
        };
        let Some(code) = unhex(code) else {
            return false;
        };
        // Compared in constant time.
        keys.digests().iter().any(|key| mac(key, said).is_some_and(|mac| mac.verify_slice(&code).is_ok()))
            && end(token) > now.duration_since(SystemTime::UNIX_EPOCH).map_or(u64::MAX, |now| now.as_secs())
    }

    /// Always there: a key of any length will do.
    fn mac(key: &[u8; 32], said: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(b"regrip session ");
        mac.update(said.as_bytes());
        Some(mac)
    }

    /// The end of a token, in seconds since 1970.
    fn end(token: &str) -> u64 {
        token.split('-').nth(1).and_then(|end| end.parse().ok()).unwrap_or(0)
    }

    fn unhex(hex: &str) -> Option<Vec<u8>> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
    }

    /// Sessions that were ended before their time, with their ends.
    #[derive(Debug, Default)]
    pub(super) struct EndedSessions(Mutex<BTreeMap<[u8; 32], u64>>);

    impl EndedSessions {
        pub(super) fn has(&self, token: &str) -> bool {
            lock(&self.0).contains_key(&digest(token))
        }

        /// Of too many, the one goes that would have ended first.
        pub(super) fn put(&self, token: &str) {
            let mut ended = lock(&self.0);
            if ended.len() >= MOST_ENDED
                && let Some(first) = ended.iter().min_by_key(|(_, end)| **end).map(|(token, _)| *token)
            {
                ended.remove(&first);
            }
            ended.insert(digest(token), end(token));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::time::Duration;

        #[test]
        fn a_signed_session_holds_with_its_key_until_its_end_and_is_not_changed() {
            let [keys, others] = ["hush", "other"].map(|key| Keys::new([key]).unwrap());
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let token = token(&keys, now).unwrap();
            assert!(holds(&keys, &token, now) && holds(&keys, &token, now + LIFE - Duration::from_secs(1)));
            assert!(!holds(&keys, &token, now + LIFE) && !holds(&others, &token, now));
            let longer = token.replacen("-3592000-", "-9592000-", 1);
            assert_ne!(longer, token);
            for wrong in [&longer, &token[1..], &token[..token.len() - 1], "", "-", "--", "a-9999999999-", "ä-1-äa"] {
                assert!(!holds(&keys, wrong, now), "{wrong}");
            }
            let ended = EndedSessions::default();
            assert!(!ended.has(&token));
            ended.put(&token);
            assert!(ended.has(&token));
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod sessions_tests {
    use super::*;

    fn client(program: &str) -> Client {
        Client::new([127, 0, 0, 1].into(), program.as_bytes())
    }

    fn begin(sessions: &Sessions, program: &str) -> String {
        sessions.begin(client(program), 0).unwrap()
    }

    #[test]
    fn a_session_holds_until_it_is_ended_and_tokens_differ() {
        let sessions = Sessions::default();
        let (one, other) = (begin(&sessions, "a"), begin(&sessions, "a"));
        assert_ne!(one, other);
        assert!(sessions.holds(&one, 0) && sessions.holds(&other, 0));
        assert!(!sessions.holds("", 0) && !sessions.holds(&one[1..], 0));
        sessions.end(&one);
        assert!(!sessions.holds(&one, 0) && sessions.holds(&other, 0));
    }

    #[test]
    fn a_session_ends_when_the_key_is_changed() {
        let sessions = Sessions::default();
        let before = begin(&sessions, "a");
        assert!(!sessions.holds(&before, 1));
        let after = sessions.begin(client("a"), 1).unwrap();
        assert!(sessions.holds(&after, 1));
        assert_eq!(lock(&sessions.0).len(), 1);
    }

    #[test]
    fn logins_of_a_script_end_no_session_of_somebody_else() {
        let table = [
            // The program of the script, and how often each of its sessions is used.
            ("script", 0),
            ("script", 3),
            ("browser", 0),
            ("browser", 1),
        ];
        for (program, uses) in table {
            let sessions = Sessions::default();
            let person = begin(&sessions, "browser");
            assert!(sessions.holds(&person, 0));
            for _ in 0..2 * MOST {
                let token = begin(&sessions, program);
                assert!((0..uses).all(|_| sessions.holds(&token, 0)));
            }
            assert!(sessions.holds(&person, 0), "{program} {uses}");
        }
    }

    #[test]
    fn who_logs_in_while_a_script_does_stays_logged_in() {
        let sessions = Sessions::default();
        for _ in 0..MOST {
            begin(&sessions, "browser");
        }
        let person = begin(&sessions, "browser");
        for _ in 0..MOST {
            assert!(sessions.holds(&person, 0));
            begin(&sessions, "browser");
        }
    }

    #[test]
    fn there_are_never_many_and_the_last_login_always_counts() {
        let sessions = Sessions::default();
        for number in 0..2 * MOST {
            let token = begin(&sessions, &number.to_string());
            assert!(sessions.holds(&token, 0));
        }
        assert_eq!(lock(&sessions.0).len(), MOST);
        // There is room of those who have the most.
        let sessions = Sessions::default();
        for number in 0..MOST {
            begin(&sessions, &(number % (MOST / MOST_OF_A_CLIENT)).to_string());
        }
        let token = begin(&sessions, "somebody else");
        assert!(sessions.holds(&token, 0));
        assert_eq!(lock(&sessions.0).len(), MOST);
    }

    #[test]
    fn a_session_that_nobody_uses_any_more_makes_room_first() {
        let sessions = Sessions::default();
        let tokens: Vec<_> = (0..MOST_OF_A_CLIENT).map(|_| begin(&sessions, "a")).collect();
        assert!(tokens.iter().all(|token| sessions.holds(token, 0)));
        let begun = Instant::now();
        lock(&sessions.0)[7].uses = 1000;
        for (place, session) in lock(&sessions.0).iter_mut().enumerate() {
            if place != 7 {
                session.last_used = begun + IDLE;
            }
        }
        make_room(&mut lock(&sessions.0), client("a"), begun + IDLE);
        assert!(!sessions.holds(&tokens[7], 0));
        assert_eq!(lock(&sessions.0).len(), MOST_OF_A_CLIENT - 1);
    }

    #[test]
    fn one_that_is_over_holds_no_more() {
        let sessions = Sessions::default();
        let token = begin(&sessions, "a");
        lock(&sessions.0)[0].ends = Instant::now();
        assert!(!sessions.holds(&token, 0));
    }
}
