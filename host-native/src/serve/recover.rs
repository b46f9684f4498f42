//! What an earlier process left unfinished, before the watch folder is looked at.
//!
//! Invariants: every stub of an unfinished download is claimed before the first look, so none of them makes a second row,
//! however fast its drive fails. The stub of a download that was completed by a process that died before it removed the
//! stub goes before its import goes on, which may move the file away.

use super::claims::PeerItem;
use super::finish;
use super::service::Service;
use crate::ledger::{DownloadOrigin, NativeLedger};
use regrip_core::{DownloadId, Error, PeerId, Status};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Downloads whose import is taken up at once.
const IMPORTS_AT_ONCE: u32 = 64;

/// Rows that are read at once.
const READ_AT_ONCE: usize = 512;

/// Paused downloads that are read at once.
const PAUSED_AT_ONCE: u32 = 512;

/// Claims, cleans up and puts in line. Starts nothing while files cannot be written.
///
/// # Errors
/// `Ledger`.
pub(super) async fn recover<L: NativeLedger>(service: &Arc<Service<L>>) -> Result<(), Error> {
    let (engine, ledger) = (service.control.engine(), service.control.ledger());
    let lost = ledger.close_open_attempts().await?;
    let recovered = engine.recover().await?;
    let (drive, superseded) = (recovered.drive.len(), recovered.superseded.len());
    if drive + superseded + lost > 0 {
        tracing::info!(drive, superseded, lost_attempts = lost, "an earlier run left downloads unfinished");
    }
    claim_paused(service).await?;
    // All are claimed before any is begun, and the oldest is begun first.
    let mut by_source: BTreeMap<String, Vec<DownloadId>> = BTreeMap::new();
    for ids in recovered.drive.chunks(READ_AT_ONCE) {
        let mut origins = ledger.origins(ids.to_vec()).await?;
        origins.sort_unstable_by_key(|origin| origin.id);
        for origin in origins {
            let DownloadOrigin { id, stub_name, .. } = origin;
            let Some(item) = item(origin.peer_id, origin.item_id) else {
                by_source.entry(String::new()).or_default().push(id);
                continue;
            };
            service.claims.take_up(&item, id, stub_name.as_deref());
            service.link(&item, id).await;
            let source = item.peer.as_str().to_owned();
            by_source.entry(source).or_default().push(id);
        }
    }
    for (source, ids) in by_source {
        for id in ids {
            service.drive(&source, id);
        }
    }
    remove_finished_stubs(service).await?;
    finish::recover(service).await
}

/// Claims the stubs of paused downloads, which would otherwise be new work.
async fn claim_paused<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = service.control.ledger().list(&[Status::Paused], PAUSED_AT_ONCE, after).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.row.id);
        for entry in &page {
            if let Some(item) = finish::item_of(entry) {
                service.claims.take_up(&item, entry.row.id, entry.stub_name.as_deref());
                service.link(&item, entry.row.id).await;
            }
        }
    }
}

/// Resumes the imports that were under way, some at a time.
pub(super) async fn go_on_with_imports<L: NativeLedger>(service: Arc<Service<L>>) {
    let mut after = 0;
    loop {
        let page = match next_to_import(&service, &mut after).await {
            Ok(page) if page.is_empty() => return,
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "cannot read the pending imports; the next start resumes them");
                return;
            }
        };
        let imports = page.iter().map(|one| service.imports.import(one.id, false));
        for done in futures::future::join_all(imports).await {
            if let Err(error) = done {
                tracing::error!(%error, "cannot resume an import");
            }
        }
    }
}

async fn remove_finished_stubs<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = next_to_import(service, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for origin in page {
            if let Some(name) = origin.stub_name
                && let Some(item) = item(origin.peer_id, origin.item_id)
                && let Err(error) = service.stubs.remove(&name, &item)
            {
                finish::leave(service, &name, &item, &error).await;
            }
        }
    }
}

/// The next page of completed downloads whose import is pending; empty at the end.
async fn next_to_import<L: NativeLedger>(
    service: &Service<L>,
    after: &mut DownloadId,
) -> Result<Vec<DownloadOrigin>, Error> {
    let ledger = service.control.ledger();
    let page = ledger.to_import(*after, IMPORTS_AT_ONCE).await?;
    if let Some(last) = page.last() {
        *after = last.id;
    }
    Ok(page)
}

fn item(peer: Option<String>, id: Option<String>) -> Option<PeerItem> {
    Some(PeerItem { peer: PeerId::new(&peer?)?, id: id? })
}
