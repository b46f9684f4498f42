//! The part store in object storage.

use super::client::{ObjectHead, ObjectName, S3Client, S3Settings};
use super::part::ObjectPart;
use super::uploads::{Upload, UploadEnd, UploadLedger, UploadedPart};
use crate::store::lock::{self, Locked};
use crate::store::path::{System, hex};
use crate::store::version::FileStamp;
use crate::sync::lock as locked;
use crate::time::entropy;
use crate::transport::{CookieJar, HttpTransport, TransportOptions};
use bytes::Bytes;
use regrip_core::store::{Committed, Committing, Found, OpenPart, PartStore, PartToken, Replace};
use regrip_core::{Algorithm, Error, RetryPolicy};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long the storage has for the head of its answer, from the first byte of a part that is sent.
const SENT_WITHIN: Duration = Duration::from_secs(300);
/// The most bytes that are kept for parts which are closed.
const KEPT_BYTES: usize = 64 << 20;
/// What the name of a part has after its object's.
pub(super) const SUFFIX: &str = ".part";

/// Keeps parts as multipart uploads. Clones are the same store.
#[derive(Clone, Debug)]
pub struct ObjectStore(Arc<StoreState>);

#[derive(Debug)]
struct StoreState {
    client: S3Client,
    ledger: Arc<dyn UploadLedger>,
    /// The folder of locks: two processes that share a ledger never write one object at once.
    locks: PathBuf,
    /// Objects have names that begin with this.
    prefix: String,
    kept: Mutex<VecDeque<Kept>>,
}

/// Bytes of a part that is closed.
#[derive(Debug)]
struct Kept {
    tag: String,
    start: u64,
    /// The number of the opening that the bytes are of. They count only for the next one: another process that opened the upload in
    /// between may have recorded another version.
    opened: u64,
    bytes: Vec<u8>,
}

impl ObjectStore {
    /// A store of the objects whose names begin with `prefix`. Requests are repeated as `policy` says, and go out as `options`
    /// say, but without headers, cookies and certificates, which are for sources. `locks` is a folder of this machine, the same
    /// for all processes that share the ledger, unless that has leases.
    pub fn new(
        settings: S3Settings,
        options: TransportOptions,
        policy: RetryPolicy,
        ledger: Arc<dyn UploadLedger>,
        locks: PathBuf,
        prefix: &str,
    ) -> ObjectStore {
        let options = TransportOptions {
            headers_timeout: options.headers_timeout.max(SENT_WITHIN),
            headers: Vec::new(),
            credentials: Vec::new(),
            by_url: HashMap::new(),
            cookies: CookieJar::default(),
            identity: None,
            bytes_per_second: None,
            ..options
        };
        let client = S3Client::new(settings, HttpTransport::new(options), policy);
        ObjectStore(Arc::new(StoreState { client, ledger, locks, prefix: prefix.to_owned(), kept: Mutex::default() }))
    }

    /// Checks that uploads to an object can be begun, without beginning one. `within` bounds the time for it.
    ///
    /// # Errors
    /// What is wrong with the address, the bucket, the region, the key or the name.
    pub async fn check(&self, object: &str, within: Option<Duration>) -> Result<(), String> {
        let object = ObjectName::parse(object).map_err(|why| format!("{object}: {why}"))?;
        self.0.client.check(&object, within).await
    }

    /// Asks whether the storage answers.
    pub(super) async fn probe(&self, prefix: &Path) -> Result<(), Error> {
        let object = self.named(&prefix.join("name").to_string_lossy())?;
        self.0.client.probe(&object).await.map_err(|fault| fault.of("reach", &object))
    }

    /// The size and the time of an object, if there is one.
    ///
    /// # Errors
    /// `Disk` if the storage does not answer.
    pub async fn look_at(&self, object: &str) -> Result<Option<FileStamp>, Error> {
        Ok(self.head(&self.named(object)?).await?.as_ref().map(ObjectHead::stamp))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) async fn delete(&self, object: &str) -> Result<(), Error> {
        let object = self.named(object)?;
        self.0.client.delete(&object).await.map_err(|fault| fault.of("delete", &object))
    }

    /// Aborts the uploads that were given up: of one object, or of all.
    ///
    /// # Errors
    /// `Disk`, `Ledger`, the first of them; what could not be aborted stays in the ledger.
    pub(crate) async fn abort_uploads(&self, object: Option<&ObjectName>) -> Result<(), Error> {
        let mut done = Ok(());
        for (object, id) in self.ledger().uploads_to_abort(object.map(|object| object.as_str().to_owned())).await? {
            let aborted = self.abort(object, id).await;
            done = done.and(aborted); // one that cannot be aborted keeps the others from nothing
        }
        done
    }

    async fn abort(&self, object: String, id: String) -> Result<(), Error> {
        let name = self.named(&object)?;
        let aborted = self.0.client.abort(&name, &id).await;
        aborted.map_err(|fault| fault.of("abort an upload to", &name))?;
        self.ledger().forget_upload(object, id).await
    }

    pub(super) fn ledger(&self) -> &dyn UploadLedger {
        &*self.0.ledger
    }

    /// The id of an upload, which is begun if it is not yet.
    pub(super) async fn begun(&self, object: &ObjectName, upload: &mut Upload) -> Result<String, Error> {
        if let Some(id) = &upload.id {
            return Ok(id.clone());
        }
        self.abort_uploads(Some(object)).await?;
        let id = self.0.client.create(object, &upload.tag()).await;
        let id = id.map_err(|fault| fault.of("begin an upload to", object))?;
        self.ledger().begin_upload(object.as_str().to_owned(), id.clone()).await?;
        upload.id = Some(id.clone());
        Ok(id)
    }

    /// Sends a part, and records it once the storage has it.
    pub(super) async fn send_part(
        self,
        object: ObjectName,
        id: String,
        number: u16,
        bytes: Bytes,
        digests: Vec<(Algorithm, Vec<u8>)>,
    ) -> Result<UploadedPart, Error> {
        let size = bytes.len() as u64;
        let etag = self.0.client.put_part(&object, &id, number, bytes).await;
        let etag = etag.map_err(|fault| fault.of("upload a part of", &object))?;
        let part = UploadedPart { number, size, etag, digests };
        self.ledger().add_uploaded_part(object.as_str().to_owned(), id, part.clone()).await?;
        Ok(part)
    }

    /// Keeps the bytes of a part that is closed, and drops the oldest ones if there are too many.
    pub(super) fn keep(&self, tag: String, (opened, start): (u64, u64), bytes: Vec<u8>) {
        let mut kept = locked(&self.0.kept);
        kept.push_back(Kept { tag, start, opened, bytes });
        while kept.iter().map(|kept| kept.bytes.capacity()).sum::<usize>() > KEPT_BYTES {
            kept.pop_front();
        }
    }

    fn named(&self, object: &str) -> Result<ObjectName, Error> {
        let refused = |what| Error::DestinationRefused { path: object.to_owned(), what };
        if !object.starts_with(&self.0.prefix) {
            return Err(refused("outside of the configured prefix"));
        }
        ObjectName::parse(object).map_err(|_| refused("not a name that an object may have"))
    }

    fn of_part(&self, part: &str) -> Result<ObjectName, Error> {
        self.named(part.strip_suffix(SUFFIX).unwrap_or(part))
    }

    async fn head(&self, object: &ObjectName) -> Result<Option<ObjectHead>, Error> {
        self.0.client.head(object).await.map_err(|fault| fault.of("look at", object))
    }

    fn lock_path(&self, object: &ObjectName) -> PathBuf {
        let hash = hex(&Sha256::digest(object.as_str()));
        self.0.locks.join(format!(".regrip-upload-{}.lock", &hash[..32]))
    }

    fn lock(&self, object: &ObjectName) -> Result<Locked, Error> {
        lock::open(&self.lock_path(object), OpenPart::Adopt, &System::default()).map_err(|error| match error {
            Error::PartLocked { pid, lock_file, .. } => {
                Error::PartLocked { path: object.as_str().to_owned(), pid, lock_file }
            }
            error => error,
        })
    }

    /// The recorded parts from the first on, as far as the storage has them as they were recorded.
    async fn confirmed(&self, object: &ObjectName, upload: &mut Upload) -> Result<(), Error> {
        let Some(id) = upload.id.clone() else {
            return Ok(());
        };
        let listed = self.0.client.list_parts(object, &id).await;
        let Some(listed) = listed.map_err(|fault| fault.of("list the parts of", object))? else {
            let head = self.head(object).await?;
            if head.and_then(|head| head.tag).is_some_and(|tag| tag == upload.tag()) {
                return Ok(()); // another process completed it, and the commit will find that
            }
            // Somebody aborted it, perhaps a rule of the bucket.
            self.ledger().end_upload(object.as_str().to_owned(), UploadEnd::Restarted).await?;
            *upload = Upload { generation: upload.generation + 1, id: None, parts: Vec::new(), ..upload.clone() };
            return Ok(());
        };
        let bare = |etag: &str| etag.replace("&quot;", "").replace("&#34;", "").replace('"', "");
        let parts = upload.parts.iter().zip(1..).take_while(|(part, number)| {
            let same = |(at, size, etag): &(u16, u64, String)| {
                (*at, *size) == (*number, part.size) && bare(etag) == bare(&part.etag)
            };
            part.number == *number && listed.iter().any(same)
        });
        let confirmed = parts.count();
        upload.parts.truncate(confirmed);
        Ok(())
    }
}

impl PartStore for ObjectStore {
    type Part = ObjectPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        let object = self.of_part(part)?;
        Ok(self.ledger().upload(object.as_str().to_owned()).await?.is_some())
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<ObjectPart, Error> {
        let object = self.of_part(part)?;
        let lock = self.lock(&object)?;
        let name = || object.as_str().to_owned();
        let upload = match self.ledger().upload(name()).await? {
            Some(_) if how == OpenPart::Create => return Err(Error::ForeignPart { path: name() }),
            Some(mut upload) => {
                self.confirmed(&object, &mut upload).await?;
                upload
            }
            None => self.ledger().add_upload(name(), format!("{:016x}", entropy())).await?,
        };
        let (tag, start) = (upload.tag(), upload.parts.iter().map(|part| part.size).sum::<u64>());
        let opened = self.ledger().open_upload(name()).await?;
        let mut kept = locked(&self.0.kept);
        let at = kept.iter().position(|kept| kept.tag == tag);
        let bytes = at.and_then(|at| kept.remove(at));
        let bytes = bytes.filter(|kept| kept.start == start && kept.opened.checked_add(1) == Some(opened));
        drop(kept);
        let bytes = bytes.map(|kept| kept.bytes).unwrap_or_default();
        Ok(ObjectPart::new(self.clone(), object, upload, (opened, bytes), lock))
    }

    async fn commit(&self, mut part: ObjectPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        if part.object != self.named(destination)? {
            return Err(Error::DestinationRefused {
                path: destination.to_owned(),
                what: "another object than the upload's",
            });
        }
        part.send_all().await?;
        let id = self.begun(&part.object, &mut part.upload).await?;
        let tag = part.upload.tag();
        let if_new = replace == Replace::Nothing;
        let done = self.0.client.complete(&part.object, (&id, &tag), &part.upload.parts, if_new).await;
        done.map_err(|fault| match fault.is_precondition() {
            true => Error::DestinationExists { path: destination.to_owned() },
            false => fault.of("complete the upload to", &part.object),
        })?;
        let _ = std::fs::remove_file(self.lock_path(&part.object)); // an empty file, which the next upload would use
        // The storage's clock is not this machine's, so what it says now is what a later look is compared with.
        let made = self.head(&part.object).await.ok().flatten().filter(|head| head.tag.as_ref() == Some(&tag));
        let end = UploadEnd::Completed(made.as_ref().map(ObjectHead::stamp));
        Ok(match self.ledger().end_upload(destination.to_owned(), end).await {
            Ok(()) => Committed::Durable,
            Err(error) => Committed::WithWarning(error),
        })
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        let object = self.named(destination)?;
        let upload = self.ledger().upload(self.of_part(part)?.as_str().to_owned()).await?;
        let PartToken(token) = &committing.token;
        let is_file = |head: &ObjectHead| {
            let tag = head.tag.clone().unwrap_or_default();
            head.size == committing.size
                && match &upload {
                    Some(upload) => upload.token == *token && tag == upload.tag(),
                    None => tag.rsplit_once('-').is_some_and(|(of, _)| of == token),
                }
        };
        if let Some(head) = self.head(&object).await?.filter(is_file) {
            if upload.is_some() {
                let end = UploadEnd::Completed(Some(head.stamp()));
                self.ledger().end_upload(destination.to_owned(), end).await?;
            }
            return Ok(Found::Destination);
        }
        Ok(if upload.is_some() { Found::Part } else { Found::Nothing })
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        let object = self.of_part(part)?;
        if self.ledger().upload(object.as_str().to_owned()).await?.is_none() {
            return Ok(());
        }
        let _lock = self.lock(&object)?;
        self.ledger().end_upload(object.as_str().to_owned(), UploadEnd::Removed).await?;
        let _ = std::fs::remove_file(self.lock_path(&object)); // as after a commit
        self.abort_uploads(Some(&object)).await
    }
}
