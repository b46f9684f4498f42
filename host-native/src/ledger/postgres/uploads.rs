//! Multipart uploads to object storage.
//!
//! What changes an upload names the token of the claim on its download, so that a worker that lost it changes nothing. Each statement
//! may run twice.

use super::ledger::PostgresLedger;
use super::link::Param;
use super::stored::{get, integer};
use crate::store::{Upload, UploadEnd, UploadLedger, UploadedPart};
use crate::sync::lock;
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::Error;
use tokio_postgres::Row;

/// This process has the claim: $1 object, $2 ids, $3 tokens. The row is locked, so that nobody else claims it before the statement
/// is done; after waiting for its lock, Postgres looks at the claim again.
macro_rules! claimed {
    () => {
        "EXISTS (SELECT FROM downloads d JOIN unnest($2::bigint[], $3::bigint[]) own (id, token)
            ON d.id = own.id AND d.token = own.token
            WHERE d.dest_path = $1 AND d.lease_until > clock_timestamp() FOR SHARE OF d)"
    };
}

/// No other process has it.
macro_rules! not_claimed_by_another {
    () => {
        "NOT EXISTS (SELECT FROM downloads d WHERE d.dest_path = $1 AND d.lease_until > clock_timestamp()
            AND NOT EXISTS (SELECT FROM unnest($2::bigint[], $3::bigint[]) own (id, token)
                WHERE d.id = own.id AND d.token = own.token))"
    };
}

const ADD: &str = concat!(
    "WITH added AS (
        INSERT INTO uploads (object, token, generation)
        SELECT $1, (SELECT coalesce(max(id), 0) FROM downloads WHERE dest_path = $1) || '-' || $4::text, 1 WHERE ",
    claimed!(),
    " ON CONFLICT (object) DO NOTHING)
    SELECT 1 WHERE ",
    claimed!()
);

const BEGIN: &str = concat!(
    "UPDATE uploads SET upload_id = $4 WHERE object = $1 AND (upload_id IS NULL OR upload_id = $4) AND ",
    claimed!(),
    " RETURNING 1"
);

const OPEN: &str =
    concat!("UPDATE uploads SET opened = opened + 1 WHERE object = $1 AND ", claimed!(), " RETURNING opened");

const ADD_PART: &str = concat!(
    "INSERT INTO upload_parts (object, number, size, etag, digests)
    SELECT object, $5::bigint, $6::bigint, $7::text, $8::text FROM uploads WHERE object = $1 AND upload_id = $4 AND ",
    claimed!(),
    " ON CONFLICT (object, number) DO UPDATE
    SET size = excluded.size, etag = excluded.etag, digests = excluded.digests RETURNING 1"
);

const RESTARTED: &str = concat!(
    "WITH before AS (SELECT object, upload_id FROM uploads WHERE object = $1 AND upload_id IS NOT NULL AND ",
    claimed!(),
    " FOR UPDATE),
    abandoned AS (INSERT INTO abandoned_uploads SELECT object, upload_id FROM before ON CONFLICT DO NOTHING),
    parts AS (DELETE FROM upload_parts p USING before WHERE p.object = before.object),
    again AS (UPDATE uploads u SET upload_id = NULL, generation = generation + 1 FROM before WHERE u.object = before.object)
    SELECT 1 WHERE ",
    claimed!()
);

const REMOVED: &str = concat!(
    "WITH gone AS (DELETE FROM uploads WHERE object = $1 AND ",
    not_claimed_by_another!(),
    " RETURNING object, upload_id),
    parts AS (DELETE FROM upload_parts p USING gone WHERE p.object = gone.object),
    abandoned AS (
        INSERT INTO abandoned_uploads SELECT object, upload_id FROM gone WHERE upload_id IS NOT NULL ON CONFLICT DO NOTHING)
    SELECT 1 WHERE ",
    not_claimed_by_another!()
);

/// The file of the download gets the object's stamp: $4 size, $5 time.
const COMPLETED: &str = concat!(
    "WITH gone AS (DELETE FROM uploads WHERE object = $1 AND ",
    not_claimed_by_another!(),
    " RETURNING object),
    parts AS (DELETE FROM upload_parts p USING gone WHERE p.object = gone.object),
    stamped AS (
        UPDATE downloads d SET completed_size = $4, completed_mtime_ns = $5
        FROM unnest($2::bigint[], $3::bigint[]) own (id, token)
        WHERE d.id = own.id AND d.token = own.token AND d.dest_path = $1)
    SELECT 1 WHERE ",
    not_claimed_by_another!()
);

/// Those whose download is gone or complete end here. A download claims its part before its upload is added.
const ORPHANS: &str = "SELECT object FROM uploads WHERE NOT EXISTS (
    SELECT FROM downloads WHERE dest_path = object AND (record->>'claimed')::boolean
        AND status NOT IN ('completed', 'import_queued', 'imported'))";

impl PostgresLedger {
    /// Runs a statement about an object that takes the claims of this process, and then these parameters.
    async fn change_upload(
        &self,
        (what, sql): (&'static str, &'static str),
        object: &str,
        more: &[Param<'_>],
    ) -> Result<Row, Error> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = lock(&self.tokens).iter().map(|(id, token)| (*id, *token)).unzip();
        let mut params: Vec<Param<'_>> = vec![&object, &ids, &tokens];
        params.extend(more);
        let changed = self.link.run(what, sql, &params).await?.into_iter().next();
        let lost = || Error::ledger(format!("the upload of {object} is another worker's now"), "the claim is lost");
        changed.ok_or_else(lost)
    }
}

impl UploadLedger for PostgresLedger {
    fn upload(&self, object: String) -> BoxFuture<'_, Result<Option<Upload>, Error>> {
        let read = async move {
            let what = "reading an upload";
            let select = "SELECT token, generation, upload_id FROM uploads WHERE object = $1";
            let found = self.link.run(what, select, &[&object]).await?;
            let Some(row) = found.first() else {
                return Ok(None);
            };
            let select = "SELECT number, size, etag, digests FROM upload_parts WHERE object = $1 ORDER BY number";
            let mut parts = Vec::new();
            for row in &self.link.run(what, select, &[&object]).await? {
                let (number, size, digests): (i64, i64, String) =
                    (get(row, 0, "number")?, get(row, 0, "size")?, get(row, 0, "digests")?);
                parts.push(UploadedPart {
                    number: u16::try_from(number).unwrap_or_default(),
                    size: u64::try_from(size).unwrap_or_default(),
                    etag: get(row, 0, "etag")?,
                    // A state that cannot be read is of no use.
                    digests: serde_json::from_str(&digests).unwrap_or_default(),
                });
            }
            let generation: i64 = get(row, 0, "generation")?;
            Ok(Some(Upload {
                token: get(row, 0, "token")?,
                generation: u32::try_from(generation).unwrap_or_default(),
                id: get(row, 0, "upload_id")?,
                parts,
            }))
        };
        read.boxed()
    }

    fn open_upload(&self, object: String) -> BoxFuture<'_, Result<u64, Error>> {
        let open = async move {
            let opened: i64 = get(&self.change_upload(("opening an upload", OPEN), &object, &[]).await?, 0, "opened")?;
            Ok(u64::try_from(opened).unwrap_or_default())
        };
        open.boxed()
    }

    fn add_upload(&self, object: String, nonce: String) -> BoxFuture<'_, Result<Upload, Error>> {
        let add = async move {
            self.change_upload(("adding an upload", ADD), &object, &[&nonce]).await?;
            let added = self.upload(object.clone()).await?;
            added.ok_or_else(|| Error::ledger("adding an upload", "it is gone again"))
        };
        add.boxed()
    }

    fn begin_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.change_upload(("beginning an upload", BEGIN), &object, &[&id]).await.map(drop) }.boxed()
    }

    fn add_uploaded_part(&self, object: String, id: String, part: UploadedPart) -> BoxFuture<'_, Result<(), Error>> {
        let add = async move {
            let what = "adding a part of an upload";
            let digests = serde_json::to_string(&part.digests).map_err(|error| Error::ledger(what, error))?;
            let (number, size) = (i64::from(part.number), integer(part.size));
            self.change_upload((what, ADD_PART), &object, &[&id, &number, &size, &part.etag, &digests]).await.map(drop)
        };
        add.boxed()
    }

    fn end_upload(&self, object: String, end: UploadEnd) -> BoxFuture<'_, Result<(), Error>> {
        let end = async move {
            let what = "ending an upload";
            let changed = match end {
                UploadEnd::Restarted => self.change_upload((what, RESTARTED), &object, &[]).await,
                UploadEnd::Removed => self.change_upload((what, REMOVED), &object, &[]).await,
                UploadEnd::Completed(stamp) => {
                    let (size, mtime_ns) = (stamp.map(|stamp| integer(stamp.size)), stamp.map(|stamp| stamp.mtime_ns));
                    self.change_upload((what, COMPLETED), &object, &[&size, &mtime_ns]).await
                }
            };
            changed.map(drop)
        };
        end.boxed()
    }

    fn uploads_to_abort(&self, object: Option<String>) -> BoxFuture<'_, Result<Vec<(String, String)>, Error>> {
        let list = async move {
            let what = "reading the uploads to abort";
            if object.is_none() {
                for row in &self.link.run(what, ORPHANS, &[]).await? {
                    self.end_upload(get(row, 0, "object")?, UploadEnd::Removed).await?;
                }
            }
            let select = "SELECT object, upload_id FROM abandoned_uploads WHERE object = coalesce($1::text, object)";
            let found = self.link.run(what, select, &[&object]).await?;
            found.iter().map(|row| Ok((get(row, 0, "object")?, get(row, 0, "upload_id")?))).collect()
        };
        list.boxed()
    }

    fn forget_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>> {
        let forget = async move {
            let delete = "DELETE FROM abandoned_uploads WHERE object = $1 AND upload_id = $2";
            self.link.run("forgetting an upload", delete, &[&object, &id]).await.map(drop)
        };
        forget.boxed()
    }
}
