//! The tables of `serve`: what it notes on a download, stubs that are left, imports, the records of the download client,
//! and SHA-256s of shared files.

use super::database::Fault;
use super::database::{integer, time};
use super::ledger::{SqliteLedger, one};
use super::rows;
use crate::ledger::{
    ClientRecord, DownloadOrigin, Import, ImportState, LeftStub, NewPeerKey, PeerKey, PeerKeys, ServeTables,
    SharedDigest, SharedDigests, TakenOver,
};
use crate::store::{FileId, FileVersion};
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::{Class, DownloadId, Error, Source, Status};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, named_params, params};
use std::time::SystemTime;

impl ServeTables for SqliteLedger {
    async fn note_release(
        &self,
        id: DownloadId,
        stub_name: Option<String>,
        release_json: Option<String>,
    ) -> Result<(), Error> {
        self.write("noting a release", move |transaction| {
            let set = "UPDATE downloads SET stub_name = ?2, release_json = ?3 WHERE id = ?1";
            let params: [&dyn ToSql; 3] = [&id, &stub_name, &release_json];
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    async fn origins(&self, ids: Vec<DownloadId>) -> Result<Vec<DownloadOrigin>, Error> {
        let ids = serde_json::json!(ids).to_string();
        self.queue
            .read("reading downloads", move |transaction| {
                let select = "SELECT id, peer_id, item_id, stub_name FROM downloads
                    WHERE id IN (SELECT value FROM json_each(?1))";
                let mut statement = transaction.prepare_cached(select)?;
                let found = statement.query_map([&ids], read_origin)?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn to_import(&self, after: DownloadId, limit: u32) -> Result<Vec<DownloadOrigin>, Error> {
        self.queue
            .read("reading downloads", move |transaction| {
                let mut statement = transaction.prepare_cached(TO_IMPORT)?;
                let found = statement.query_map((after, limit), read_origin)?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn left_stubs(&self) -> Result<Vec<LeftStub>, Error> {
        self.queue
            .read("reading left stubs", |transaction| {
                let select = "SELECT stub_name, peer_id, item_id FROM left_stubs ORDER BY stub_name";
                let mut statement = transaction.prepare_cached(select)?;
                let found = statement.query_map([], |row| {
                    Ok(LeftStub { stub_name: row.get(0)?, peer_id: row.get(1)?, item_id: row.get(2)? })
                })?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn note_left_stub(&self, stub: LeftStub) -> Result<(), Error> {
        self.write("noting a left stub", move |transaction| {
            let insert = "INSERT OR REPLACE INTO left_stubs (stub_name, peer_id, item_id)
                VALUES (?1, ?2, ?3)";
            let params = params![stub.stub_name, stub.peer_id, stub.item_id];
            transaction.prepare_cached(insert)?.execute(params)?;
            Ok(())
        })
        .await
    }

    async fn forget_left_stub(&self, stub_name: String) -> Result<(), Error> {
        self.write("forgetting a left stub", move |transaction| {
            let delete = "DELETE FROM left_stubs WHERE stub_name = ?1";
            transaction.prepare_cached(delete)?.execute([&stub_name])?;
            Ok(())
        })
        .await
    }

    async fn imports(&self, id: DownloadId) -> Result<Vec<Import>, Error> {
        self.queue
            .read("reading imports", move |transaction| {
                let select = "SELECT server, state, tries, next_try, error FROM imports
                    WHERE download = ?1 ORDER BY place";
                let mut statement = transaction.prepare_cached(select)?;
                let found = statement.query_map([id], read_import)?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn record_imports(
        &self,
        id: DownloadId,
        imports: Vec<Import>,
        shown: String,
        at: SystemTime,
    ) -> Result<(), Error> {
        self.write("noting an import", move |transaction| record_imports(transaction, id, &imports, &shown, at)).await
    }

    async fn record_imported(&self, id: DownloadId, shown: String, at: SystemTime) -> Result<(), Error> {
        self.write("noting an import", move |transaction| {
            let status = rows::row(transaction, id)?.status;
            if !status.is_complete() {
                return Err(Error::WrongState { id, status }.into());
            }
            let set = "UPDATE downloads SET import_state = ?2, status = ?3, updated_at = ?4 WHERE id = ?1";
            let params = params![id, shown, Status::Imported.name(), time(at)];
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    async fn client_records(&self) -> Result<Vec<ClientRecord>, Error> {
        self.queue
            .read("reading the download client's records", |transaction| {
                let mut statement = transaction.prepare_cached("SELECT kind, key, record FROM client_records")?;
                let found = statement.query_map([], |row| {
                    Ok(ClientRecord { kind: row.get(0)?, key: row.get(1)?, record: row.get(2)? })
                })?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn put_client_record(&self, record: ClientRecord) -> Result<(), Error> {
        self.write("noting a record of the download client", move |transaction| {
            let ClientRecord { kind, key, record } = &record;
            match record {
                Some(record) => {
                    let insert = "INSERT OR REPLACE INTO client_records (kind, key, record) VALUES (?1, ?2, ?3)";
                    transaction.prepare_cached(insert)?.execute([kind, key, record])?
                }
                None => {
                    let delete = "DELETE FROM client_records WHERE kind = ?1 AND key = ?2";
                    transaction.prepare_cached(delete)?.execute([kind, key])?
                }
            };
            Ok(())
        })
        .await
    }
}

impl SqliteLedger {
    /// Adds downloads that another program began, and keys that it issued, all or none. What is known already (a download by its
    /// destination and item, a key by its hash) is left as it is. Returns how many downloads and keys are new.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    pub async fn take_over(&self, downloads: Vec<TakenOver>, keys: Vec<NewPeerKey>) -> Result<(usize, usize), Error> {
        self.write("taking over downloads", move |transaction| {
            let mut new = (0, 0);
            for download in &downloads {
                new.0 += usize::from(take_over(transaction, download)?);
            }
            for key in &keys {
                let known = "SELECT 1 FROM peer_keys WHERE hash = ?1";
                if transaction.prepare_cached(known)?.exists([key.hash])? {
                    continue;
                }
                let mut key = key.clone();
                let (name, mut number) = (key.name.clone(), 1);
                while add_key(transaction, &key)?.is_none() {
                    number += 1;
                    key.name = format!("{name} {number}");
                }
                new.1 += 1;
            }
            Ok(new)
        })
        .await
    }
}

/// Adds a download that another program began. Returns `false` if it is known.
fn take_over(transaction: &Transaction<'_>, taken: &TakenOver) -> Result<bool, Fault> {
    let Source::Peer { peer_id, item_id, .. } = &taken.new.source else {
        return Ok(false);
    };
    let known = "SELECT 1 FROM downloads WHERE dest_path = ?1 AND peer_id = ?2 AND item_id = ?3";
    if transaction.prepare_cached(known)?.exists([&taken.new.destination, peer_id, item_id])? {
        return Ok(false);
    }
    let id = rows::insert(transaction, &taken.new, taken.created_at)?;
    let set = "UPDATE downloads SET stub_name = ?2, release_json = ?3, status = ?4, error = ?5, error_class = ?6,
        error_code = ?7, completed_at = ?8, downloaded_bytes = ?9, completed_size = ?9, completed_mtime_ns = ?10
        WHERE id = ?1";
    let (failed, complete) = (taken.failed.as_deref(), taken.complete);
    let status = match (failed, complete) {
        (_, Some(_)) => Status::Completed,
        (Some(_), None) => Status::Failed,
        (None, None) => Status::Queued,
    };
    let failed = failed.filter(|_| complete.is_none());
    transaction.prepare_cached(set)?.execute(params![
        id,
        taken.stub_name,
        taken.release_json,
        status.name(),
        failed.map(|error| regrip_core::shown(error)),
        failed.map(|_| Class::Permanent.name()),
        failed.map(|_| "TakenOver"),
        complete.map(|_| time(taken.created_at)),
        complete.map_or(0, |stamp| integer(stamp.size)),
        complete.map(|stamp| stamp.mtime_ns),
    ])?;
    if let Some((key, record)) = &taken.client_record {
        let mut record = record.clone();
        record["download"] = id.into();
        let insert = "INSERT OR IGNORE INTO client_records (kind, key, record) VALUES ('torrent', ?1, ?2)";
        transaction.prepare_cached(insert)?.execute([key, &record.to_string()])?;
    }
    Ok(true)
}

impl PeerKeys for SqliteLedger {
    fn peer_keys(&self) -> BoxFuture<'_, Result<Vec<PeerKey>, Error>> {
        let read = self.queue.read("reading the keys of peers", |transaction| {
            let mut statement = transaction.prepare_cached("SELECT * FROM peer_keys ORDER BY id")?;
            let found = statement.query_map([], read_key)?;
            Ok(found.collect::<Result<_, _>>()?)
        });
        read.boxed()
    }

    fn add_peer_key(&self, new: NewPeerKey) -> BoxFuture<'_, Result<Option<PeerKey>, Error>> {
        self.write("adding a key", move |transaction| add_key(transaction, &new)).boxed()
    }

    fn revoke_peer_key(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<bool, Error>> {
        let write = self.write("revoking a key", move |transaction| {
            let set = "UPDATE peer_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
            Ok(transaction.prepare_cached(set)?.execute(params![id, time(at)])? > 0)
        });
        write.boxed()
    }

    fn note_peer_key_used(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("noting the use of a key", move |transaction| {
            let set = "UPDATE peer_keys SET last_used_at = ?2 WHERE id = ?1";
            transaction.prepare_cached(set)?.execute(params![id, time(at)])?;
            Ok(())
        });
        write.boxed()
    }
}

fn add_key(transaction: &Transaction<'_>, new: &NewPeerKey) -> Result<Option<PeerKey>, Fault> {
    let insert = "INSERT INTO peer_keys (name, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    let params = params![new.name, new.hash, time(new.created_at), new.expires_at.map(time)];
    if transaction.prepare_cached(insert)?.execute(params)? == 0 {
        return Ok(None);
    }
    let id = transaction.last_insert_rowid();
    Ok(Some(PeerKey { id, new: new.clone(), last_used_at: None, revoked_at: None }))
}

fn read_key(row: &rusqlite::Row<'_>) -> Result<PeerKey, rusqlite::Error> {
    let at = |column: &str| {
        let text: Option<String> = row.get(column)?;
        Ok::<_, rusqlite::Error>(text.map(|text| humantime::parse_rfc3339(&text).unwrap_or(SystemTime::UNIX_EPOCH)))
    };
    Ok(PeerKey {
        id: row.get("id")?,
        new: NewPeerKey {
            name: row.get("name")?,
            hash: row.get("hash")?,
            created_at: at("created_at")?.unwrap_or(SystemTime::UNIX_EPOCH),
            // A time that cannot be read is over: the key opens nothing.
            expires_at: at("expires_at")?,
        },
        last_used_at: at("last_used_at")?,
        revoked_at: at("revoked_at")?,
    })
}

/// The order of a `CROSS JOIN` is kept: see `what_is_left_to_import_is_found_by_an_index`.
const TO_IMPORT: &str = "SELECT id, peer_id, item_id, stub_name FROM downloads WHERE id IN (
         SELECT id FROM (
             SELECT id FROM downloads INDEXED BY downloads_to_begin_import
             WHERE id > ?1 AND status IN ('completed', 'import_queued') AND release_json IS NOT NULL
                 AND import_state IS NULL
             ORDER BY id LIMIT ?2)
         UNION
         SELECT download FROM (
             SELECT DISTINCT download FROM imports INDEXED BY imports_pending CROSS JOIN downloads ON id = download
             WHERE download > ?1 AND state = 'pending' AND status IN ('completed', 'import_queued')
                 AND release_json IS NOT NULL
             ORDER BY download LIMIT ?2))
     ORDER BY id LIMIT ?2";

fn read_origin(row: &rusqlite::Row<'_>) -> Result<DownloadOrigin, rusqlite::Error> {
    Ok(DownloadOrigin {
        id: row.get("id")?,
        peer_id: row.get("peer_id")?,
        item_id: row.get("item_id")?,
        stub_name: row.get("stub_name")?,
    })
}

fn read_import(row: &rusqlite::Row<'_>) -> Result<Import, rusqlite::Error> {
    let (state, next_try): (String, Option<String>) = (row.get(1)?, row.get(3)?);
    Ok(Import {
        server: row.get(0)?,
        // If this version does not know the state, the server is sent another command, which is harmless.
        state: ImportState::named(&state).unwrap_or(ImportState::Pending),
        tries: row.get(2)?,
        next_try: next_try.and_then(|text| humantime::parse_rfc3339(&text).ok()),
        error: row.get(4)?,
    })
}

/// Replaces the imports of a completed download and the line that is shown of them. If one was accepted, the download is
/// `import_queued`.
fn record_imports(
    transaction: &Transaction<'_>,
    id: DownloadId,
    imports: &[Import],
    shown: &str,
    at: SystemTime,
) -> Result<(), Fault> {
    let status = rows::row(transaction, id)?.status;
    let accepted = imports.iter().any(|import| import.state == ImportState::Accepted);
    let after = match (status, accepted) {
        (Status::Completed, true) => Status::ImportQueued,
        (Status::Completed | Status::ImportQueued | Status::Imported, _) => status,
        _ => return Err(Error::WrongState { id, status }.into()),
    };
    let set = "UPDATE downloads SET import_state = ?2, status = ?3, updated_at = ?4 WHERE id = ?1";
    let params = params![id, shown, after.name(), time(at)];
    transaction.prepare_cached(set)?.execute(params)?;
    let delete = "DELETE FROM imports WHERE download = ?1";
    transaction.prepare_cached(delete)?.execute([id])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO imports (download, place, server, state, tries, next_try, error)
         VALUES (:download, :place, :server, :state, :tries, :next_try, :error)",
    )?;
    for (import, place) in imports.iter().zip(1_u32..) {
        insert.execute(named_params! {
            ":download": id,
            ":place": place,
            ":server": import.server,
            ":state": import.state.name(),
            ":tries": import.tries,
            ":next_try": import.next_try.map(time),
            ":error": import.error,
        })?;
    }
    Ok(())
}

/// Rows kept, more than a share has files; those noted longest ago go first.
const SHARED_DIGESTS: i64 = 400_000;

impl SharedDigests for SqliteLedger {
    fn shared_digest(&self, path: Vec<u8>) -> BoxFuture<'_, Result<Option<SharedDigest>, Error>> {
        let read = self.queue.read("reading a digest", move |transaction| find_digest(transaction, &path));
        read.boxed()
    }

    fn note_shared_digest(&self, path: Vec<u8>, digest: SharedDigest) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("noting a digest", move |transaction| note_digest(transaction, &path, &digest));
        write.boxed()
    }
}

/// The digest noted for a path. Rows from before schema 6 do not say of which version theirs is, and do not count.
fn find_digest(connection: &Connection, path: &[u8]) -> Result<Option<SharedDigest>, Fault> {
    let select = "SELECT size, mtime_ns, sha256, device, inode, ctime_ns, etag FROM shared_digests
        WHERE path = ?1 AND device IS NOT NULL AND inode IS NOT NULL AND ctime_ns IS NOT NULL AND etag IS NOT NULL";
    let found = connection
        .prepare_cached(select)?
        .query_row([path], |row| {
            let (device, inode): (i64, i64) = (row.get(3)?, row.get(4)?);
            let version = FileVersion {
                id: FileId { device: device.cast_unsigned(), inode: inode.cast_unsigned() },
                size: 0,
                mtime_ns: row.get(1)?,
                ctime_ns: row.get(5)?,
            };
            let (sha256, etag) = (row.get(2)?, row.get(6)?);
            let size: i64 = row.get(0)?;
            Ok((size, SharedDigest { version, sha256, etag }))
        })
        .optional()?;
    let Some((size, mut digest)) = found else {
        return Ok(None);
    };
    digest.version.size = u64::try_from(size).map_err(|error| Error::ledger("reading a digest", error))?;
    Ok(Some(digest))
}

/// Notes a digest, in place of an older one for the path.
fn note_digest(transaction: &Transaction<'_>, path: &[u8], digest: &SharedDigest) -> Result<(), Fault> {
    let insert = "INSERT OR REPLACE INTO shared_digests (path, size, mtime_ns, sha256, device, inode, ctime_ns, etag)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let version = &digest.version;
    transaction.prepare_cached(insert)?.execute(params![
        path,
        integer(version.size),
        version.mtime_ns,
        digest.sha256,
        version.id.device.cast_signed(),
        version.id.inode.cast_signed(),
        version.ctime_ns,
        digest.etag,
    ])?;
    let trim = "DELETE FROM shared_digests WHERE noted <= ?1";
    let oldest = transaction.last_insert_rowid().saturating_sub(SHARED_DIGESTS);
    transaction.prepare_cached(trim)?.execute([oldest])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn what_is_left_to_import_is_found_by_an_index() {
        let steps = file::plan(TO_IMPORT);
        let read = steps.iter().filter(|step| step.contains("downloads") || step.contains("imports"));
        let read: Vec<String> = read.map(|step| step.replace("COVERING ", "")).collect();
        let by = [
            "SEARCH downloads USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH downloads USING INDEX downloads_to_begin_import (id>?)",
            "SEARCH imports USING INDEX imports_pending (download>?)",
            "SEARCH downloads USING INTEGER PRIMARY KEY (rowid=?)",
        ];
        assert_eq!(read, by, "{steps:#?}");
    }
}
