//! Reads downloads as lists and the API show them, beside what is written.

use super::ledger::PostgresLedger;
use super::stored::{self, Stored, columns, get};
use crate::ledger::{AttemptLine, Catalogue, LedgerEntry};
use regrip_core::Error;
use regrip_core::record::{DownloadId, Status};
use std::time::SystemTime;
use tokio_postgres::types::Json;

/// Downloads of one page at most.
const PAGE: u32 = 1000;

/// A page of all downloads, and one of some statuses, each of which is read from its index.
const PAGE_OF_ALL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM downloads d WHERE (updated_at, id) < ($2, $3) AND $1::text[] = '{}' ORDER BY updated_at DESC, id DESC LIMIT $4"
);
const PAGE_OF_STATUSES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::text[]) AS of (name), LATERAL (
         SELECT * FROM downloads WHERE status = of.name AND (updated_at, id) < ($2, $3)
         ORDER BY updated_at DESC, id DESC LIMIT $4) d
     ORDER BY d.updated_at DESC, d.id DESC LIMIT $4"
);

impl PostgresLedger {
    async fn page(
        &self,
        statuses: &[Status],
        limit: i64,
        after: Option<DownloadId>,
    ) -> Result<Vec<LedgerEntry>, Error> {
        // The last moment that the type holds, as good as.
        let mut before = (SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(200_000_000_000), i64::MAX);
        if let Some(after) = after {
            before = (stored::read(&self.shown, "listing downloads", after).await?.updated_at, after);
        }
        let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
        let sql = if names.is_empty() { PAGE_OF_ALL } else { PAGE_OF_STATUSES };
        let found = self.shown.run("listing downloads", sql, &[&names, &before.0, &before.1, &limit]).await?;
        found.iter().map(|row| Ok(Stored::from_row(row)?.entry(None))).collect()
    }
}

impl Catalogue for PostgresLedger {
    async fn entry(&self, id: DownloadId) -> Result<LedgerEntry, Error> {
        let select = concat!("SELECT ", columns!(), ", d.release_json FROM downloads d WHERE id = $1");
        let found = self.shown.run("reading a download", select, &[&id]).await?;
        let row = found.first().ok_or(Error::NoSuchDownload(id))?;
        Ok(Stored::from_row(row)?.entry(get(row, id, "release_json")?))
    }

    async fn list(
        &self,
        statuses: &[Status],
        limit: u32,
        after: Option<DownloadId>,
    ) -> Result<Vec<LedgerEntry>, Error> {
        self.page(statuses, i64::from(limit.min(PAGE)), after).await
    }

    async fn all(&self, status: Option<Status>) -> Result<Vec<LedgerEntry>, Error> {
        self.page(status.as_slice(), i64::MAX, None).await
    }

    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        let select = "SELECT status, count(*) FROM downloads GROUP BY status";
        let found = self.shown.run("counting downloads", select, &[]).await?;
        let count = |row: &tokio_postgres::Row| {
            let (name, count): (String, i64) = (row.get(0), row.get(1));
            Some((Status::named(&name)?, u64::try_from(count).unwrap_or_default()))
        };
        Ok(found.iter().filter_map(count).collect())
    }

    async fn timeline(&self, id: DownloadId) -> Result<Vec<AttemptLine>, Error> {
        let select = "SELECT line FROM attempts WHERE download_id = $1 ORDER BY attempt";
        let found = self.shown.run("reading a timeline", select, &[&id]).await?;
        found.iter().map(|row| get(row, id, "line").map(|Json(line)| line)).collect()
    }

    fn is_stuck(&self) -> bool {
        self.link.is_down()
    }

    fn waiting_requests(&self) -> usize {
        self.link.waiting()
    }
}
