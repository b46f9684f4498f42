//! What workers share: claims on what nobody drives, slots of origins, and who is there.

use super::ledger::PostgresLedger;
use super::link::Param;
use super::stored::{get, integer};
use crate::ledger::{ClaimLimits, DownloadLease, Fleet, FleetWorker, WorkerReport};
use crate::sync::lock;
use crate::time::{DurationCounts, rfc3339};
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::{DownloadId, Error};
use std::path::Path;
use std::time::SystemTime;

/// Leases that are shown of one worker.
const SHOWN_LEASES: i64 = 100;

/// Origins that one statement looks at, and statements of one claim: looking at an origin costs the database some 20 µs, and there may
/// be more origins than workers.
const ORIGINS: i64 = 32;
const STATEMENTS: u32 = 4;

/// Takes the oldest downloads of the next origins that have something to do and a free slot. Others claim at the same time: what they
/// have locked is skipped, and a slot that they got first is not given twice, because (origin, slot) is a key. Its last row says which
/// origins it looked at.
///
/// $1 owner, $2 most, $3 slots of an origin, $4 lease in milliseconds, $5 the origin to begin after, $6 origins
const CLAIM_NEXT: &str = "
    WITH RECURSIVE origins (origin, place) AS (
        (SELECT origin, 1 FROM downloads
            WHERE status IN ('queued', 'downloading', 'waiting', 'committing') AND origin > $5 ORDER BY origin, id LIMIT 1)
        UNION ALL
        SELECT next.origin, place + 1 FROM origins before, LATERAL (
            SELECT origin FROM downloads
            WHERE status IN ('queued', 'downloading', 'waiting', 'committing') AND origin > before.origin
            ORDER BY origin, id LIMIT 1) next
        WHERE place < $6::bigint),
    counted AS (
        SELECT origin, (
            SELECT count(*) FROM origin_leases l
            WHERE l.origin = origins.origin AND l.lease_until > clock_timestamp()) AS taken
        FROM origins),
    open AS (SELECT origin, least($3::bigint, taken + $2::bigint * 4) AS slots FROM counted WHERE taken < $3::bigint),
    oldest AS (
        SELECT of_origin.id FROM open, LATERAL (
            SELECT id FROM downloads
            WHERE status IN ('queued', 'downloading', 'waiting', 'committing') AND origin = open.origin
                AND (owner IS NULL OR lease_until <= clock_timestamp())
                AND (not_before IS NULL OR not_before <= clock_timestamp())
            ORDER BY id LIMIT $2::bigint * 8) of_origin
        ORDER BY id LIMIT $2::bigint * 8),
    locked AS (
        SELECT id, origin FROM downloads
        WHERE id IN (SELECT id FROM oldest) AND status IN ('queued', 'downloading', 'waiting', 'committing')
            AND (owner IS NULL OR lease_until <= clock_timestamp())
            AND (not_before IS NULL OR not_before <= clock_timestamp())
        ORDER BY id LIMIT $2::bigint FOR UPDATE SKIP LOCKED),
    waiting AS (SELECT id, origin, row_number() OVER (PARTITION BY origin ORDER BY id) AS place FROM locked),
    free AS (
        SELECT origin, numbered.slot, row_number() OVER (PARTITION BY origin ORDER BY random()) AS place
        FROM open, generate_series(1, open.slots) AS numbered (slot)
        WHERE origin IN (SELECT origin FROM locked) AND NOT EXISTS (
            SELECT FROM origin_leases l
            WHERE l.origin = open.origin AND l.slot = numbered.slot AND l.lease_until > clock_timestamp())),
    leased AS (
        INSERT INTO origin_leases (origin, slot, download_id, owner, lease_until)
        SELECT origin, slot, id, $1, clock_timestamp() + $4::float8 * interval '1 millisecond'
        FROM waiting JOIN free USING (origin, place) ORDER BY origin, slot
        ON CONFLICT (origin, slot) DO UPDATE
        SET download_id = excluded.download_id, owner = excluded.owner, lease_until = excluded.lease_until
        WHERE origin_leases.lease_until <= clock_timestamp()
        RETURNING download_id),
    claimed AS (
        UPDATE downloads SET owner = $1, token = token + 1, claimed_at = clock_timestamp(),
            lease_until = clock_timestamp() + $4::float8 * interval '1 millisecond'
        FROM leased WHERE id = leased.download_id
        RETURNING id, token)
    SELECT id, token, NULL AS looked_to, NULL AS looked_at FROM claimed
    UNION ALL SELECT NULL, NULL, max(origin), count(*) FROM origins";

const REPORT: &str = "
    INSERT INTO workers (id, host, pid, address, version, permits, draining, trouble, seen_at)
    SELECT $1, $2, $3::bigint, $4, $5, $6::bigint, $7::boolean, $8::text, clock_timestamp()
    WHERE NOT $7 OR EXISTS (SELECT FROM workers WHERE id = $1) -- one that has signed off stays so
    ON CONFLICT (id) DO UPDATE
    SET permits = excluded.permits, draining = excluded.draining, trouble = excluded.trouble, seen_at = excluded.seen_at";

/// Workers that were lost long ago are forgotten by those that look.
const WORKERS: &str = "
    WITH forgotten AS (DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 day')
    SELECT w.*, seen_at < clock_timestamp() - $1::float8 * interval '1 millisecond' AS is_lost,
        (SELECT count(*) FROM downloads WHERE owner = w.id) AS leases
    FROM workers w ORDER BY host, pid, id";

const LEASES: &str = "
    SELECT w.id AS owner, d.id, d.dest_path, d.claimed_at,
        (extract(epoch FROM d.lease_until - clock_timestamp()) * 1000)::bigint AS ends_in_ms
    FROM workers w, LATERAL (
        SELECT id, dest_path, claimed_at, lease_until FROM downloads WHERE owner = w.id ORDER BY id LIMIT $1) d";

impl Fleet for PostgresLedger {
    fn claim_next<'a>(&'a self, owner: &'a str, limits: ClaimLimits) -> BoxFuture<'a, Result<Vec<DownloadId>, Error>> {
        let claim = async move {
            let of_origin = i64::from(limits.of_origin);
            let most = limits.most as usize;
            let began = lock(&self.looked_to).clone();
            let (mut after, mut ids) = (began.clone(), Vec::new());
            for _ in 0..STATEMENTS {
                let wanted = integer(most.saturating_sub(ids.len()) as u64);
                let params: [Param<'_>; 6] = [&owner, &wanted, &of_origin, &self.lease_ms(), &after, &ORIGINS];
                let mut looked_to = None;
                for row in &self.link.run("claiming downloads", CLAIM_NEXT, &params).await? {
                    match get(row, 0, "id")? {
                        Some(id) => {
                            lock(&self.tokens).insert(id, get(row, id, "token")?);
                            ids.push(id);
                        }
                        None if get::<i64>(row, 0, "looked_at")? == ORIGINS => looked_to = get(row, 0, "looked_to")?,
                        None => {}
                    }
                }
                let is_end = looked_to.is_none();
                after = looked_to.unwrap_or_default();
                lock(&self.looked_to).clone_from(&after);
                // From the end it goes on at the beginning, if it did not begin there.
                if ids.len() >= most || (is_end && began.is_empty()) {
                    break;
                }
            }
            ids.sort_unstable();
            Ok(ids)
        };
        claim.boxed()
    }

    fn announced(&self) -> BoxFuture<'_, ()> {
        self.link.announced().boxed()
    }

    fn report(&self, worker: WorkerReport) -> BoxFuture<'_, Result<(), Error>> {
        let report = async move {
            let params: [Param<'_>; 8] = [
                &worker.id,
                &worker.host,
                &i64::from(worker.pid),
                &worker.address,
                &env!("CARGO_PKG_VERSION"),
                &i64::from(worker.permits),
                &worker.draining,
                &worker.trouble,
            ];
            self.link.run("reporting a worker", REPORT, &params).await.map(drop)
        };
        report.boxed()
    }

    fn sign_off<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let forget = async move {
            let delete = "DELETE FROM workers WHERE id = $1";
            self.link.run("signing off a worker", delete, &[&owner]).await.map(drop)
        };
        forget.boxed()
    }

    fn answered(&self) -> DurationCounts {
        self.link.answered()
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<FleetWorker>, Error>> {
        let list = async move {
            let what = "listing workers";
            let found = self.shown.run(what, WORKERS, &[&self.lease_ms()]).await?;
            let leases = self.shown.run(what, LEASES, &[&SHOWN_LEASES]).await?;
            let mut workers = Vec::new();
            for row in &found {
                workers.push(worker(row, &leases).map_err(|error| Error::ledger(what, error))?);
            }
            Ok(workers)
        };
        list.boxed()
    }
}

fn worker(row: &tokio_postgres::Row, leases: &[tokio_postgres::Row]) -> Result<FleetWorker, tokio_postgres::Error> {
    let id: String = row.try_get("id")?;
    let at = |column| Ok::<_, tokio_postgres::Error>(rfc3339(row.try_get::<_, SystemTime>(column)?));
    let count = |column| Ok::<_, tokio_postgres::Error>(row.try_get::<_, i64>(column)?.max(0).cast_unsigned());
    let mut own = Vec::new();
    for lease in leases {
        if lease.try_get::<_, &str>("owner")? == id {
            let path: &str = lease.try_get("dest_path")?;
            own.push(DownloadLease {
                id: lease.try_get("id")?,
                filename: Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned(),
                claimed_at: rfc3339(lease.try_get("claimed_at")?),
                ends_in_ms: lease.try_get("ends_in_ms")?,
            });
        }
    }
    let trouble: Option<String> = row.try_get("trouble")?;
    Ok(FleetWorker {
        host: row.try_get("host")?,
        pid: u32::try_from(count("pid")?).unwrap_or_default(),
        address: row.try_get("address")?,
        version: row.try_get("version")?,
        state: match (row.try_get("is_lost")?, row.try_get("draining")?) {
            (true, _) => "lost",
            (false, true) => "draining",
            (false, false) if trouble.is_some() => "waiting",
            (false, false) => "working",
        },
        trouble,
        permits: u32::try_from(count("permits")?).unwrap_or(u32::MAX),
        started_at: at("started_at")?,
        seen_at: at("seen_at")?,
        leases: own,
        leases_count: count("leases")?,
        id,
    })
}
