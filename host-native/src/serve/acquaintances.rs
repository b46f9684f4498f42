//! The peers of the configuration, each with its client.

use crate::config::Peer;
use crate::control::Control;
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::peers::PeerClient;
use regrip_core::semaphore::Semaphore;
use regrip_core::{Engine, PeerId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Releases that one peer is asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// A peer and those who ask it.
#[derive(Clone)]
pub(super) struct Acquaintance<L: NativeLedger> {
    pub(super) client: Arc<PeerClient<L>>,
    /// Whoever asks holds a permit.
    pub(super) turns: Semaphore,
}

/// All of them, by what stubs call them.
pub(super) struct Acquaintances<L: NativeLedger> {
    control: Control<L>,
    known: RwLock<HashMap<PeerId, Acquaintance<L>>>,
}

impl<L: NativeLedger> Acquaintances<L> {
    pub(super) fn new(control: Control<L>) -> Self {
        Acquaintances {
            control,
            known: RwLock::default(),
        }
    }

    /// Takes over a configuration. Of a peer that stays as it was the handshake holds.
    pub(super) fn configure(&self, peers: &[Peer]) {
        self.control.peers().configure(peers);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        for peer in peers {
            let kept = before
                .get(&peer.id)
                .filter(|kept| kept.client.peer() == peer);
            let kept = kept.cloned().or_else(|| meet(self.control.engine(), peer));
            if let Some(acquaintance) = kept {
                known.insert(peer.id.clone(), acquaintance);
            }
        }
    }

    /// The peer of that id.
    pub(super) fn get(&self, id: &PeerId) -> Option<Acquaintance<L>> {
        self.held().get(id).cloned()
    }

    /// The name of the peer of that id.
    pub(super) fn named(&self, id: &PeerId) -> Option<String> {
        let held = self.held();
        held.get(id).map(|known| known.client.peer().name.clone())
    }

    fn held(&self) -> RwLockReadGuard<'_, HashMap<PeerId, Acquaintance<L>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn meet<L: NativeLedger>(engine: &Engine<NativeHost<L>>, peer: &Peer) -> Option<Acquaintance<L>> {
    Some(Acquaintance {
        client: Arc::new(PeerClient::new(engine.clone(), peer.clone())),
        turns: Semaphore::new(ASKED_AT_ONCE).ok()?,
    })
}
