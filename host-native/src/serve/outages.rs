//! Says on the boards that a peer cannot be reached: the line to it knows, and whoever waits for it is not told.

use super::service::Service;
use crate::ledger::NativeLedger;
use regrip_core::error::chain;
use regrip_core::time::Clock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the lines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Never ends.
pub(super) async fn show<L: NativeLedger>(service: Arc<Service<L>>) {
    loop {
        smol::Timer::after(LOOK_EVERY).await;
        look(&service);
    }
}

fn look<L: NativeLedger>(service: &Service<L>) {
    let (engine, stubs) = (service.control.engine(), service.control.stubs());
    let clock = engine.host().clock;
    let mut out = HashMap::new();
    for peer in &service.settings.get().peers {
        if let Some(outage) = engine.reachability(peer.id.as_str()).outage() {
            let due = outage.next_probe.since(clock.now());
            let why = format!(
                "the peer cannot be reached: {}",
                chain(&outage.last.error())
            );
            out.insert(peer.id.as_str().to_owned(), (why, due));
        }
    }
    if out.is_empty() {
        return;
    }
    for stub in stubs.list(usize::MAX) {
        if let Some((why, due)) = out.get(&stub.peer_id)
            && !service.claims.is_left(&stub.stub_name)
        {
            stubs.change(&stub.stub_name, |stub| {
                stub.error = Some(why.clone());
                stub.next_try_at = SystemTime::now().checked_add(*due);
            });
        }
    }
}
