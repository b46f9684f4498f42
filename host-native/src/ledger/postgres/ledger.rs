//! A ledger in a Postgres database. Its other halves are in `catalogue` and `serve`.

use super::address::DatabaseAddress;
use super::link::Link;
use super::schema::{self, DatabaseRefused, Unconnected};
use super::stored::{self, Stored, Transaction, columns, get};
use crate::ledger::{Fleet, NativeLedger};
use crate::store::FileStamp;
use crate::sync::lock;
use crate::time::entropy;
use regrip_core::Error;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use regrip_core::send_ledger::SendLedger;
use smol::Timer;
use smol::future::FutureExt;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How often to look for changes that were not announced.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long what the engine asks is repeated: downloads wait rather than fail, and their claims end before that.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what is only shown is repeated.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// The tokens of claimed rows.
pub(super) type Tokens = Arc<Mutex<HashMap<DownloadId, i64>>>;

/// Remembers downloads in a Postgres database that other workers share. A clone is another handle on the same connections.
#[derive(Clone)]
pub struct PostgresLedger {
    /// For what is written and what the engine reads.
    pub(super) link: Arc<Link>,
    /// For what is only shown: a long list delays no write.
    pub(super) shown: Arc<Link>,
    lease: Duration,
    /// The tokens of the rows that this process has claimed, until it [releases](SendLedger::release) them. One that is out of date
    /// stays, so that a drive that has not noticed yet writes nothing.
    pub(super) tokens: Tokens,
    /// The origin after which the next claim looks for work; empty: it begins with the first.
    pub(super) looked_to: Arc<Mutex<String>>,
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresLedger")
    }
}

impl PostgresLedger {
    /// Opens the ledger in the database that a URL names, making its tables if the database is empty, and upgrades an older one.
    /// `lease` is how long a claim lasts. Blocks: for the start of a program.
    ///
    /// # Errors
    /// [`DatabaseRefused`]; a database of another program or a newer version is left as it is.
    pub fn open(url: &str, lease: Duration) -> Result<Self, DatabaseRefused> {
        let target = DatabaseAddress::parse(url)?;
        let tokens = Arc::default();
        let link = Link::new(target.clone(), PATIENCE, Some(Arc::clone(&tokens)));
        smol::block_on(async {
            link.open().await.map_err(|error| DatabaseRefused::Connect(Unconnected::from(error)))?;
            schema::settle(&link, &target).await
        })?;
        let shown = Arc::new(Link::new(target, SHOWN_WITHIN, None));
        Ok(PostgresLedger { link: Arc::new(link), shown, lease, tokens, looked_to: Arc::default() })
    }

    /// A transaction of one row.
    pub(super) fn transaction(&self, what: &'static str, id: DownloadId) -> Transaction<'_> {
        Transaction { link: &self.link, what, id, token: lock(&self.tokens).get(&id).copied() }
    }

    async fn rows(&self, sql: &'static str, params: &[super::link::Param<'_>]) -> Result<Vec<Row>, Error> {
        let found = self.link.run("reading downloads", sql, params).await?;
        found.iter().map(|row| Ok(Stored::from_row(row)?.row)).collect()
    }
}

/// What a user asks for, whoever has the claim.
fn is_of_user(change: &Change) -> bool {
    matches!(change, Change::Cancelled | Change::Paused | Change::Retried | Change::Unpaused)
}

/// The process of an owner. Its drives have one after the other the claim on a download, and the claim's token keeps them apart.
fn worker(owner: &str) -> &str {
    owner.split_once('-').map_or(owner, |(worker, _)| worker)
}

impl SendLedger for PostgresLedger {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        stored::insert(&self.link, new, at).await
    }

    async fn insert_new(&self, new: &[NewDownload], at: SystemTime) -> Result<Vec<Option<DownloadId>>, Error> {
        stored::insert_new(&self.link, new, at).await
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        Ok(stored::read(&self.link, "reading a download", id).await?.row)
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let select = concat!("SELECT ", columns!(), " FROM downloads d WHERE dest_path = $1 ORDER BY id DESC");
        self.rows(select, &[&stored::searched(destination)]).await
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let select = "SELECT id, dest_path, status = 'committing' AS committing, durable_bytes FROM downloads
            WHERE status IN ('queued', 'downloading', 'waiting', 'committing')";
        let found = self.link.run("reading downloads", select, &[]).await?;
        let mark = |row| -> Result<Mark, Error> {
            let id = get(row, 0, "id")?;
            let durable: i64 = get(row, id, "durable_bytes")?;
            Ok(Mark {
                id,
                destination: get(row, id, "dest_path")?,
                committing: get(row, id, "committing")?,
                durable: u64::try_from(durable).unwrap_or_default(),
            })
        };
        found.iter().map(mark).collect()
    }

    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        let transaction = self.transaction("beginning an attempt", id);
        Ok(transaction.run(false, |stored| stored.begin_attempt(attempt)).await?.0)
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        self.record_all(id, None, std::slice::from_ref(change), at).await.map(drop)
    }

    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        let change = |stored: &mut Stored| {
            let number = begin.map(|attempt| stored.begin_attempt(attempt)).transpose()?;
            changes.iter().try_for_each(|change| stored.apply(change, at))?;
            Ok(number)
        };
        let of_user = begin.is_none() && changes.iter().any(is_of_user);
        Ok(self.transaction("recording a change", id).run(of_user, change).await?.0)
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        let delete = "WITH gone AS (DELETE FROM downloads WHERE id = $1 RETURNING id),
                lines AS (DELETE FROM attempts USING gone WHERE download_id = gone.id),
                ended AS (DELETE FROM origin_leases USING gone WHERE download_id = gone.id)
            SELECT id, pg_notify('regrip', id::text) FROM gone";
        match self.link.run("removing a download", delete, &[&id]).await?.is_empty() {
            true => Err(Error::NoSuchDownload(id)),
            false => Ok(()),
        }
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    /// By the database's clock, whatever `until` says.
    async fn claim(&self, id: DownloadId, owner: &str, _until: SystemTime) -> Result<bool, Error> {
        let claim = "WITH claimed AS (
                UPDATE downloads
                SET token = token + CASE WHEN owner = $2 THEN 0 ELSE 1 END,
                    claimed_at = CASE WHEN owner = $2 THEN claimed_at ELSE clock_timestamp() END, owner = $2,
                    lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
                WHERE id = $1 AND (owner IS NULL OR owner = $2 OR lease_until <= clock_timestamp())
                RETURNING token),
            extended AS (
                UPDATE origin_leases SET lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
                WHERE download_id = $1 AND owner = $2 AND EXISTS (SELECT FROM claimed))
            SELECT (SELECT token FROM claimed) AS token FROM downloads WHERE id = $1";
        let found = self.link.run("claiming a download", claim, &[&id, &worker(owner), &self.lease_ms()]).await?;
        let row = found.first().ok_or(Error::NoSuchDownload(id))?;
        let token: Option<i64> = get(row, id, "token")?;
        if let Some(token) = token {
            lock(&self.tokens).insert(id, token);
        }
        Ok(token.is_some())
    }

    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        let Some(token) = lock(&self.tokens).remove(&id) else {
            return Ok(());
        };
        let release = "WITH released AS (
                UPDATE downloads SET owner = NULL, lease_until = NULL, token = token + 1,
                    not_before = clock_timestamp() + nullif($4::float8, 0) * interval '1 millisecond'
                WHERE id = $1 AND owner = $2 AND token = $3 RETURNING id),
            ended AS (DELETE FROM origin_leases USING released WHERE download_id = released.id)
            SELECT CASE WHEN $4::float8 = 0 THEN pg_notify('regrip', 'work') END FROM released";
        let params: [super::link::Param<'_>; 4] = [&id, &worker(owner), &token, &(rest.as_secs_f64() * 1000.0)];
        self.link.run("releasing a download", release, &params).await.map(drop)
    }

    /// Returns when another process changed a row that this one has claimed, and now and then without that.
    async fn changes(&self) {
        let look = async {
            Timer::after(LOOK_EVERY).await;
        };
        self.link.changed().or(look).await;
    }
}

impl PostgresLedger {
    pub(super) fn lease_ms(&self) -> f64 {
        self.lease.as_secs_f64() * 1000.0
    }
}

impl NativeLedger for PostgresLedger {
    async fn stamp(&self, id: DownloadId, stamp: FileStamp) -> Result<(), Error> {
        let set = "UPDATE downloads SET completed_size = $2, completed_mtime_ns = $3, revision = $4 WHERE id = $1
            RETURNING id";
        let params: [super::link::Param<'_>; 4] =
            [&id, &stored::integer(stamp.size), &stamp.mtime_ns, &entropy().cast_signed()];
        match self.link.run("noting a finished file", set, &params).await?.is_empty() {
            true => Err(Error::NoSuchDownload(id)),
            false => Ok(()),
        }
    }

    async fn rows_of_url(&self, url: &str, folder: &Path) -> Result<Vec<Row>, Error> {
        let folder = folder.to_string_lossy().trim_end_matches('/').to_owned();
        let select = concat!(
            "SELECT ",
            columns!(),
            " FROM downloads d WHERE starts_with(dest_path, $1 || '/') AND url = $2 ORDER BY id DESC"
        );
        self.rows(select, &[&folder, &url]).await
    }

    fn uploads(&self) -> Arc<dyn crate::store::UploadLedger> {
        Arc::new(self.clone())
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        Some(self)
    }

    /// None: those that are open may be another worker's. The next attempt closes the one before.
    async fn close_open_attempts(&self) -> Result<usize, Error> {
        Ok(0)
    }
}
