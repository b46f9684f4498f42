//! The tables of `serve`: what it notes on a download, stubs that are left, imports, the records of the download client, keys,
//! and SHA-256s of shared files.

use super::ledger::PostgresLedger;
use super::link::Param;
use super::stored::{self, Stored, get, integer};
use crate::ledger::{
    ClientRecord, DownloadOrigin, Import, ImportState, LeftStub, NewPeerKey, PeerKey, PeerKeys, ServeTables,
    SharedDigest, SharedDigests,
};
use crate::store::{FileId, FileVersion};
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::{DownloadId, Error, Status};
use std::time::SystemTime;
use tokio_postgres::Row;

impl ServeTables for PostgresLedger {
    async fn note_release(
        &self,
        id: DownloadId,
        stub_name: Option<String>,
        release_json: Option<String>,
    ) -> Result<(), Error> {
        let set = "UPDATE downloads SET stub_name = $2, release_json = $3 WHERE id = $1 RETURNING id";
        match self.link.run("noting a release", set, &[&id, &stub_name, &release_json]).await?.is_empty() {
            true => Err(Error::NoSuchDownload(id)),
            false => Ok(()),
        }
    }

    async fn origins(&self, ids: Vec<DownloadId>) -> Result<Vec<DownloadOrigin>, Error> {
        let select = "SELECT id, peer_id, item_id, stub_name FROM downloads WHERE id = ANY($1)";
        let found = self.link.run("reading downloads", select, &[&ids]).await?;
        found.iter().map(origin).collect()
    }

    async fn to_import(&self, after: DownloadId, limit: u32) -> Result<Vec<DownloadOrigin>, Error> {
        let select = "SELECT id, peer_id, item_id, stub_name FROM downloads
            WHERE id > $1 AND status IN ('completed', 'import_queued') AND release_json IS NOT NULL
                AND (import_state IS NULL OR imports_pending)
            ORDER BY id LIMIT $2";
        let found = self.link.run("reading downloads", select, &[&after, &i64::from(limit)]).await?;
        found.iter().map(origin).collect()
    }

    async fn left_stubs(&self) -> Result<Vec<LeftStub>, Error> {
        let select = "SELECT stub_name, peer_id, item_id FROM left_stubs ORDER BY stub_name";
        let found = self.link.run("reading left stubs", select, &[]).await?;
        let stub = |row: &Row| LeftStub { stub_name: row.get(0), peer_id: row.get(1), item_id: row.get(2) };
        Ok(found.iter().map(stub).collect())
    }

    async fn note_left_stub(&self, stub: LeftStub) -> Result<(), Error> {
        let insert = "INSERT INTO left_stubs VALUES ($1, $2, $3)
            ON CONFLICT (stub_name) DO UPDATE SET peer_id = excluded.peer_id, item_id = excluded.item_id";
        let params: [Param<'_>; 3] = [&stub.stub_name, &stub.peer_id, &stub.item_id];
        self.link.run("noting a left stub", insert, &params).await.map(drop)
    }

    async fn forget_left_stub(&self, stub_name: String) -> Result<(), Error> {
        let delete = "DELETE FROM left_stubs WHERE stub_name = $1";
        self.link.run("forgetting a left stub", delete, &[&stub_name]).await.map(drop)
    }

    async fn imports(&self, id: DownloadId) -> Result<Vec<Import>, Error> {
        match stored::read(&self.link, "reading imports", id).await {
            Ok(stored) => Ok(stored.imports),
            Err(Error::NoSuchDownload(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn record_imports(
        &self,
        id: DownloadId,
        imports: Vec<Import>,
        shown: String,
        at: SystemTime,
    ) -> Result<(), Error> {
        let accepted = imports.iter().any(|import| import.state == ImportState::Accepted);
        let note = |stored: &mut Stored| {
            let status = match stored.row.status {
                Status::Completed if accepted => Status::ImportQueued,
                status => status,
            };
            note_import(stored, status, &shown, at)?;
            stored.imports.clone_from(&imports);
            Ok(())
        };
        self.transaction("noting an import", id).run(true, note).await.map(drop)
    }

    async fn record_imported(&self, id: DownloadId, shown: String, at: SystemTime) -> Result<(), Error> {
        let note = |stored: &mut Stored| note_import(stored, Status::Imported, &shown, at);
        self.transaction("noting an import", id).run(true, note).await.map(drop)
    }

    async fn client_records(&self) -> Result<Vec<ClientRecord>, Error> {
        let select = "SELECT kind, key, record FROM client_records";
        let found = self.shown.run("reading the download client's records", select, &[]).await?;
        let record = |row: &Row| ClientRecord { kind: row.get(0), key: row.get(1), record: Some(row.get(2)) };
        Ok(found.iter().map(record).collect())
    }

    async fn put_client_record(&self, record: ClientRecord) -> Result<(), Error> {
        let what = "noting a record of the download client";
        let ClientRecord { kind, key, record } = &record;
        match record {
            Some(record) => {
                let insert = "INSERT INTO client_records VALUES ($1, $2, $3)
                    ON CONFLICT (kind, key) DO UPDATE SET record = excluded.record";
                self.link.run(what, insert, &[kind, key, record]).await.map(drop)
            }
            None => {
                let delete = "DELETE FROM client_records WHERE kind = $1 AND key = $2";
                self.link.run(what, delete, &[kind, key]).await.map(drop)
            }
        }
    }

    /// A second time finds what it wrote.
    async fn replace_client_record(&self, record: ClientRecord, before: String) -> Result<bool, Error> {
        let what = "changing a record of the download client";
        let ClientRecord { kind, key, record } = &record;
        let found = match record {
            Some(record) => {
                let set = "UPDATE client_records SET record = $4
                    WHERE kind = $1 AND key = $2 AND record IN ($3, $4) RETURNING TRUE";
                self.link.run(what, set, &[kind, key, &before, record]).await?
            }
            None => {
                let delete = "WITH gone AS (
                        DELETE FROM client_records WHERE kind = $1 AND key = $2 AND record = $3 RETURNING key)
                    SELECT FROM gone
                    UNION ALL SELECT WHERE NOT EXISTS (SELECT FROM client_records WHERE kind = $1 AND key = $2)";
                self.link.run(what, delete, &[kind, key, &before]).await?
            }
        };
        Ok(!found.is_empty())
    }
}

fn note_import(stored: &mut Stored, status: Status, shown: &str, at: SystemTime) -> Result<(), Error> {
    if !stored.row.status.is_complete() {
        return Err(stored.row.wrong_state());
    }
    stored.row.status = status;
    stored.import_state = Some(shown.to_owned());
    stored.updated_at = at;
    Ok(())
}

fn origin(row: &Row) -> Result<DownloadOrigin, Error> {
    let id = get(row, 0, "id")?;
    Ok(DownloadOrigin {
        id,
        peer_id: get(row, id, "peer_id")?,
        item_id: get(row, id, "item_id")?,
        stub_name: get(row, id, "stub_name")?,
    })
}

impl PeerKeys for PostgresLedger {
    fn peer_keys(&self) -> BoxFuture<'_, Result<Vec<PeerKey>, Error>> {
        let read = async {
            let select =
                "SELECT id, name, hash, created_at, expires_at, last_used_at, revoked_at FROM peer_keys ORDER BY id";
            let found = self.link.run("reading the keys of peers", select, &[]).await?;
            let key = |row: &Row| {
                let hash: Vec<u8> = row.get(2);
                PeerKey {
                    id: row.get(0),
                    new: NewPeerKey {
                        name: row.get(1),
                        // One of another length is the hash of nothing.
                        hash: hash.try_into().unwrap_or_default(),
                        created_at: row.get(3),
                        expires_at: row.get(4),
                    },
                    last_used_at: row.get(5),
                    revoked_at: row.get(6),
                }
            };
            Ok(found.iter().map(key).collect())
        };
        read.boxed()
    }

    fn add_peer_key(&self, new: NewPeerKey) -> BoxFuture<'_, Result<Option<PeerKey>, Error>> {
        let add = async move {
            // A second time finds the key itself.
            let insert = "WITH added AS (
                    INSERT INTO peer_keys (name, hash, created_at, expires_at) VALUES ($1, $2, $3, $4)
                    ON CONFLICT DO NOTHING RETURNING id)
                SELECT id FROM added
                UNION ALL SELECT id FROM peer_keys WHERE hash = $2 AND created_at = $3 AND revoked_at IS NULL";
            let hash = new.hash.as_slice();
            let params: [Param<'_>; 4] = [&new.name, &hash, &new.created_at, &new.expires_at];
            let found = self.link.run("adding a key", insert, &params).await?;
            let key = |row: &Row| PeerKey { id: row.get(0), new, last_used_at: None, revoked_at: None };
            Ok(found.first().map(key))
        };
        add.boxed()
    }

    fn revoke_peer_key(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<bool, Error>> {
        let revoke = async move {
            let set = "UPDATE peer_keys SET revoked_at = $2 WHERE id = $1 AND (revoked_at IS NULL OR revoked_at = $2)
                RETURNING id";
            Ok(!self.link.run("revoking a key", set, &[&id, &at]).await?.is_empty())
        };
        revoke.boxed()
    }

    fn note_peer_key_used(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<(), Error>> {
        let note = async move {
            let set = "UPDATE peer_keys SET last_used_at = $2 WHERE id = $1";
            self.link.run("noting the use of a key", set, &[&id, &at]).await.map(drop)
        };
        note.boxed()
    }
}

impl SharedDigests for PostgresLedger {
    fn shared_digest(&self, path: Vec<u8>) -> BoxFuture<'_, Result<Option<SharedDigest>, Error>> {
        let read = async move {
            let select =
                "SELECT device, inode, size, mtime_ns, ctime_ns, sha256, etag FROM shared_digests WHERE path = $1";
            let found = self.link.run("reading a digest", select, &[&path]).await?;
            let digest = |row: &Row| {
                let (device, inode, size): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
                let id = FileId { device: device.cast_unsigned(), inode: inode.cast_unsigned() };
                // A negative size is that of no file.
                let size = u64::try_from(size).unwrap_or(u64::MAX);
                let version = FileVersion { id, size, mtime_ns: row.get(3), ctime_ns: row.get(4) };
                SharedDigest { version, sha256: row.get(5), etag: row.get(6) }
            };
            Ok(found.first().map(digest))
        };
        read.boxed()
    }

    fn note_shared_digest(&self, path: Vec<u8>, digest: SharedDigest) -> BoxFuture<'_, Result<(), Error>> {
        let note = async move {
            let insert = "INSERT INTO shared_digests VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (path) DO UPDATE SET device = excluded.device, inode = excluded.inode, size = excluded.size,
                    mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, sha256 = excluded.sha256, etag = excluded.etag";
            let version = &digest.version;
            let params: [Param<'_>; 8] = [
                &path,
                &version.id.device.cast_signed(),
                &version.id.inode.cast_signed(),
                &integer(version.size),
                &version.mtime_ns,
                &version.ctime_ns,
                &digest.sha256,
                &digest.etag,
            ];
            self.link.run("noting a digest", insert, &params).await.map(drop)
        };
        note.boxed()
    }
}
