//! Login sessions, held by a cookie, so that a browser need not keep the key.
//!
//! Invariants: a session is a random number that is kept as its SHA-256 only; it lives for a month, until the key is changed
//! or the process ends; there are few of them at once.
//!
//! When there are too many, one makes room that nobody will miss: a program that logs in again and again must not end the
//! session of a person. So each [`Client`] has few, and of those the one goes that is idle for a day, else the one that was
//! used the fewest times, else the youngest.

use crate::server::ClientNetwork;
use crate::sync::lock;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};

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

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
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
