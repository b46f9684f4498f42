//! Multipart uploads to object storage.

use super::database::{Fault, integer};
use super::ledger::SqliteLedger;
use crate::store::{Upload, UploadEnd, UploadLedger, UploadedPart};
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::Error;
use rusqlite::{OptionalExtension, Transaction, params};

/// Uploads whose download is gone or complete. A download claims its part before the upload is added, so none of these is in use.
const ORPHANS: &str = "SELECT object FROM uploads WHERE NOT EXISTS (
    SELECT 1 FROM downloads WHERE dest_path = object AND claimed
        AND status NOT IN ('completed', 'import_queued', 'imported'))";

impl UploadLedger for SqliteLedger {
    fn upload(&self, object: String) -> BoxFuture<'_, Result<Option<Upload>, Error>> {
        self.queue.read("reading an upload", move |transaction| upload(transaction, &object)).boxed()
    }

    fn open_upload(&self, object: String) -> BoxFuture<'_, Result<u64, Error>> {
        let write = self.write("opening an upload", move |transaction| {
            let count = "UPDATE uploads SET opened = opened + 1 WHERE object = ?1 RETURNING opened";
            let opened = transaction.prepare_cached(count)?.query_row([&object], |row| row.get::<_, u32>(0));
            opened.optional()?.map(u64::from).ok_or_else(|| gone(&object))
        });
        write.boxed()
    }

    fn add_upload(&self, object: String, nonce: String) -> BoxFuture<'_, Result<Upload, Error>> {
        let write = self.write("adding an upload", move |transaction| {
            let insert = "INSERT INTO uploads (object, token, generation) VALUES (?1,
                (SELECT coalesce(max(id), 0) FROM downloads WHERE dest_path = ?1) || '-' || ?2, 1)";
            transaction.prepare_cached(insert)?.execute([&object, &nonce])?;
            upload(transaction, &object)?.ok_or_else(|| gone(&object))
        });
        write.boxed()
    }

    fn begin_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("beginning an upload", move |transaction| {
            let set = "UPDATE uploads SET upload_id = ?2 WHERE object = ?1 AND upload_id IS NULL";
            match transaction.prepare_cached(set)?.execute([&object, &id])? {
                0 => Err(gone(&object)),
                _ => Ok(()),
            }
        });
        write.boxed()
    }

    fn add_uploaded_part(&self, object: String, id: String, part: UploadedPart) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("adding a part of an upload", move |transaction| {
            let insert = "INSERT OR REPLACE INTO upload_parts (object, number, size, etag, digests)
                SELECT object, ?3, ?4, ?5, ?6 FROM uploads WHERE object = ?1 AND upload_id = ?2";
            let digests = serde_json::to_string(&part.digests)
                .map_err(|error| Error::ledger("writing the digests of a part", error))?;
            let params = params![object, id, part.number, integer(part.size), part.etag, digests];
            match transaction.prepare_cached(insert)?.execute(params)? {
                0 => Err(gone(&object)),
                _ => Ok(()),
            }
        });
        write.boxed()
    }

    fn end_upload(&self, object: String, end: UploadEnd) -> BoxFuture<'_, Result<(), Error>> {
        self.write("ending an upload", move |transaction| end_upload(transaction, &object, end)).boxed()
    }

    fn uploads_to_abort(&self, object: Option<String>) -> BoxFuture<'_, Result<Vec<(String, String)>, Error>> {
        let write = self.write("reading the uploads to abort", move |transaction| {
            if object.is_none() {
                let mut orphans = transaction.prepare_cached(ORPHANS)?;
                let orphans: Vec<String> = orphans.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
                for object in orphans {
                    end_upload(transaction, &object, UploadEnd::Removed)?;
                }
            }
            let select = "SELECT object, upload_id FROM abandoned_uploads WHERE object = coalesce(?1, object)";
            let mut statement = transaction.prepare_cached(select)?;
            let found = statement.query_map([&object], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        });
        write.boxed()
    }

    fn forget_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("forgetting an upload", move |transaction| {
            let delete = "DELETE FROM abandoned_uploads WHERE object = ?1 AND upload_id = ?2";
            transaction.prepare_cached(delete)?.execute([&object, &id])?;
            Ok(())
        });
        write.boxed()
    }
}

fn upload(transaction: &Transaction<'_>, object: &str) -> Result<Option<Upload>, Fault> {
    let select = "SELECT token, generation, upload_id FROM uploads WHERE object = ?1";
    let found = transaction.prepare_cached(select)?.query_row([object], |row| {
        Ok(Upload { token: row.get(0)?, generation: row.get(1)?, id: row.get(2)?, parts: Vec::new() })
    });
    let Some(mut upload) = found.optional()? else {
        return Ok(None);
    };
    let select = "SELECT number, size, etag, digests FROM upload_parts WHERE object = ?1 ORDER BY number";
    let mut statement = transaction.prepare_cached(select)?;
    let parts = statement.query_map([object], |row| {
        let digests: String = row.get(3)?;
        // A state that cannot be read is of no use, and the bytes are fetched again if a digest needs them.
        let digests = serde_json::from_str(&digests).unwrap_or_default();
        Ok(UploadedPart { number: row.get(0)?, size: row.get::<_, u32>(1)?.into(), etag: row.get(2)?, digests })
    })?;
    upload.parts = parts.collect::<Result<_, _>>()?;
    Ok(Some(upload))
}

fn end_upload(transaction: &Transaction<'_>, object: &str, end: UploadEnd) -> Result<(), Fault> {
    if let UploadEnd::Completed(stamp) = end {
        let set = "UPDATE downloads SET completed_size = ?2, completed_mtime_ns = ?3
            WHERE dest_path = ?1 AND status = 'committing'";
        let (size, mtime_ns) = (stamp.map(|stamp| integer(stamp.size)), stamp.map(|stamp| stamp.mtime_ns));
        transaction.prepare_cached(set)?.execute(params![object, size, mtime_ns])?;
    } else {
        let insert = "INSERT OR IGNORE INTO abandoned_uploads (object, upload_id)
            SELECT object, upload_id FROM uploads WHERE object = ?1 AND upload_id IS NOT NULL";
        transaction.prepare_cached(insert)?.execute([object])?;
    }
    let change = match end {
        UploadEnd::Restarted => {
            transaction.prepare_cached("DELETE FROM upload_parts WHERE object = ?1")?.execute([object])?;
            "UPDATE uploads SET upload_id = NULL, generation = generation + 1
                WHERE object = ?1 AND upload_id IS NOT NULL"
        }
        UploadEnd::Completed(_) | UploadEnd::Removed => "DELETE FROM uploads WHERE object = ?1",
    };
    transaction.prepare_cached(change)?.execute([object])?;
    Ok(())
}

fn gone(object: &str) -> Fault {
    let source = "another process has removed it or begun it again";
    Error::ledger(format!("the upload of {object} is another one now"), source).into()
}
