//! Which requests of the peer wire are let in: those with a key of the configuration, or with one that was issued.
//!
//! Issued keys are in the ledger, which other processes change (`regrip key`). It is read before each request, so that a key that
//! was revoked opens nothing from then on. If nobody has a key, only this machine is served. A key that was once issued keeps
//! that rule from coming back: a server that others used does not open itself to proxies' requests.

use crate::ledger::{NewPeerKey, PeerKey, PeerKeys};
use crate::server::{Access, Answer, CurrentKeys, Entry, Guard, Keys, Refusal, X_API_KEY, only, random, unauthorized};
use crate::sync::{read, write};
use futures::FutureExt;
use futures::future::{Either, select};
use hyper::http::request::Parts;
use regrip_core::error::chain;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};
use subtle::{Choice, ConstantTimeEq};

/// Between two notes that a key is used.
const NOTE_EVERY: Duration = Duration::from_secs(60);
/// How long a request waits for the ledger, if another program keeps it locked. Then the keys that were read before count.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 100;

/// Makes a key for a peer of that name: the key itself, which is shown once, and what the ledger keeps of it.
///
/// # Errors
/// What is wrong with the name or the end, or why there is no key.
pub(crate) fn issue(name: &str, expires_at: Option<SystemTime>) -> Result<(String, NewPeerKey), String> {
    let (name, created_at) = (name.trim(), SystemTime::now());
    if !(1..=LONGEST_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err("the name of a key has 1 to 100 characters, and no control characters".to_owned());
    }
    if expires_at.is_some_and(|end| end <= created_at) {
        return Err("the key would have expired already".to_owned());
    }
    let random = random().map_err(|error| format!("the system has no random numbers: {error}"))?;
    let key = format!("regrip_{random}");
    let hash = Sha256::digest(key.as_bytes()).into();
    Ok((key, NewPeerKey { name: name.to_owned(), hash, created_at, expires_at }))
}

/// The guard of the peer wire. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct PeerAccess(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Those of the configuration.
    configured: Option<Keys>,
    /// The server's own, if it opens the wire as well.
    own: Option<CurrentKeys>,
    ledger: Box<dyn PeerKeys>,
    issued: RwLock<Vec<PeerKey>>,
}

impl PeerAccess {
    /// The keys of `configured` and those in the ledger, and `own` if the server's key opens the wire as well.
    pub(crate) fn new(
        configured: Option<Keys>,
        own: Option<CurrentKeys>,
        ledger: impl PeerKeys + 'static,
    ) -> PeerAccess {
        PeerAccess(Arc::new(Inner { configured, own, ledger: Box::new(ledger), issued: RwLock::default() }))
    }

    /// The wire as this guard lets requests in.
    pub(crate) fn guarding(self, wire: Answer) -> Answer {
        Arc::new(move |request, from| {
            let (access, wire) = (self.clone(), Arc::clone(&wire));
            async move {
                access.refresh().await;
                wire(request, from).await
            }
            .boxed()
        })
    }

    async fn refresh(&self) {
        match select(self.0.ledger.peer_keys(), smol::Timer::after(READ_WITHIN)).await {
            Either::Left((Ok(issued), _)) => *write(&self.0.issued) = issued,
            Either::Left((Err(error), _)) => tracing::warn!(error = %chain(&error), "cannot read the keys of peers"),
            Either::Right(_) => {}
        }
    }

    /// The issued key that this is. All are compared, whichever fits.
    fn issued(&self, key: &[u8]) -> Option<PeerKey> {
        let given: [u8; 32] = Sha256::digest(key).into();
        let issued = read(&self.0.issued);
        let mut found = None;
        for known in issued.iter() {
            let fits: Choice = known.new.hash.ct_eq(&given);
            if fits.into() {
                found = Some(known.clone());
            }
        }
        found
    }

    fn note_use(&self, key: &PeerKey, now: SystemTime) {
        let is_noted = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < NOTE_EVERY);
        if key.last_used_at.is_some_and(is_noted) {
            return;
        }
        let (access, id) = (self.clone(), key.id);
        smol::spawn(async move {
            if let Err(error) = access.0.ledger.note_peer_key_used(id, now).await {
                tracing::warn!(error = %chain(&error), "cannot note the use of a key");
            }
        })
        .detach();
    }
}

impl Guard for PeerAccess {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        if entry == Entry::Anyone {
            return Ok(());
        }
        let own = self.0.own.as_ref().and_then(|own| own.get().0);
        if self.0.configured.is_none() && own.is_none() && read(&self.0.issued).is_empty() {
            return Access::Loopback.check(&head.headers, from);
        }
        let Some(key) = only(&head.headers, &X_API_KEY).filter(|key| !key.is_empty()) else {
            return Err(unauthorized());
        };
        let fits = |keys: Option<&Keys>| keys.is_some_and(|keys| keys.fits(key));
        if fits(self.0.configured.as_ref()) | fits(own.as_ref()) {
            return Ok(());
        }
        let now = SystemTime::now();
        match self.issued(key) {
            Some(issued) if issued.is_in_force(now) => {
                self.note_use(&issued, now);
                Ok(())
            }
            _ => Err(unauthorized().wrong_key()),
        }
    }
}
