//! Who has logged in with the key, by a cookie, so that a browser need not keep the key.
//!
//! Invariants: a session is a random number that is kept as its SHA-256 only; it lives for a month, or until the process
//! ends; there are few of them at once.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};

/// How long one lives.
pub(super) const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Sessions at once; the oldest makes room.
const MOST: usize = 128;

#[derive(Debug)]
struct Session {
    token: [u8; 32],
    ends: Instant,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Vec<Session>>);

impl Sessions {
    /// Begins one and returns its token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn begin(&self) -> io::Result<String> {
        let token = random()?;
        let now = Instant::now();
        let mut sessions = self.lock();
        sessions.retain(|session| session.ends > now);
        while sessions.len() >= MOST {
            sessions.remove(0);
        }
        sessions.push(Session {
            token: digest(&token),
            ends: now + LIFE,
        });
        Ok(token)
    }

    /// Whether a session of this token goes on.
    pub(super) fn holds(&self, token: &str) -> bool {
        let given = digest(token);
        let now = Instant::now();
        let found = self.lock().iter().fold(Choice::from(0), |found, session| {
            let alive = Choice::from(u8::from(session.ends > now));
            found | (alive & session.token.as_slice().ct_eq(given.as_slice()))
        });
        found.into()
    }

    /// Ends one.
    pub(super) fn end(&self, token: &str) {
        let given = digest(token);
        self.lock().retain(|session| session.token != given);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// 256 bits from the system, as hex.
fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_holds_until_it_is_ended_and_tokens_differ() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.begin().unwrap(), sessions.begin().unwrap());
        assert_ne!(one, other);
        assert!(sessions.holds(&one) && sessions.holds(&other));
        assert!(!sessions.holds("") && !sessions.holds(&one[1..]));
        sessions.end(&one);
        assert!(!sessions.holds(&one) && sessions.holds(&other));
    }

    #[test]
    fn there_are_never_many() {
        let sessions = Sessions::default();
        let first = sessions.begin().unwrap();
        let last = (0..MOST).map(|_| sessions.begin().unwrap()).last().unwrap();
        assert!(!sessions.holds(&first) && sessions.holds(&last));
        assert_eq!(sessions.lock().len(), MOST);
    }

    #[test]
    fn one_that_is_over_holds_no_more() {
        let sessions = Sessions::default();
        let token = sessions.begin().unwrap();
        sessions.lock()[0].ends = Instant::now();
        assert!(!sessions.holds(&token));
    }
}
