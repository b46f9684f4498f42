//! The contract of a part store, and that of a record of uploads.

use crate::postgres::Schema;
use crate::storage::Storage;
use regrip::ledger::SqliteLedger;
use regrip::store::{ObjectStore, S3Settings, Upload, UploadEnd, UploadLedger, UploadedPart};
use regrip::transport::TransportOptions;
use regrip_core::record::NewDownload;
use regrip_core::send_ledger::SendLedger;
use regrip_core::testing::contract::store::{Names, StoreUnderTest, check_all};
use regrip_core::{OnExists, RetryPolicy, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

struct Place {
    storage: Storage,
    store: ObjectStore,
    _folder: TempDir,
}

impl StoreUnderTest for Place {
    type Chunk<'a> = &'a [u8];
    type Store = ObjectStore;

    fn store(&self) -> &ObjectStore {
        &self.store
    }
    fn chunk<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
    }
    fn names(&self) -> Names {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let destination = format!("s3://{}/folder/{}", self.storage.bucket, LAST.fetch_add(1, Ordering::Relaxed));
        Names { part: format!("{destination}.part"), destination }
    }
    async fn put(&self, name: &str, bytes: &[u8]) {
        let key = name.strip_prefix(&format!("s3://{}", self.storage.bucket)).expect("in the bucket");
        assert_eq!(self.storage.ask("PUT", key, bytes).0, 200);
    }
    async fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.storage.object(name.strip_prefix(&format!("s3://{}/", self.storage.bucket))?)
    }
}

#[test]
fn object_storage_keeps_the_contract_of_a_store() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = Storage::new();
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(storage.endpoint()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("key".to_owned()),
        _ => None,
    };
    let settings = S3Settings::of_environment(variable).expect("settings");
    let ledger = SqliteLedger::open(&folder.path().join("state.db")).expect("a ledger");
    let (options, policy, locks) = (TransportOptions::default(), RetryPolicy::default(), folder.path().to_owned());
    let store = ObjectStore::new(settings, options, policy, Arc::new(ledger), locks, "");
    let place = Place { storage, store, _folder: folder };
    smol::block_on(check_all(&place, &[])).unwrap();
}

/// The promises of an [`UploadLedger`], for an object that this process may change.
async fn check_uploads(ledger: &dyn UploadLedger, object: &str) {
    let object = || object.to_owned();
    assert_eq!(ledger.upload(object()).await.unwrap(), None);
    let new = ledger.add_upload(object(), "nonce".to_owned()).await.unwrap();
    assert!(new.token.ends_with("-nonce") && new.id.is_none() && new.parts.is_empty(), "{new:?}");
    assert_eq!(new.generation, 1);
    ledger.begin_upload(object(), "first".to_owned()).await.unwrap();
    let part = |number: u16, etag: &str| UploadedPart {
        number,
        size: 5 << 20,
        etag: etag.to_owned(),
        digests: vec![(regrip_core::Algorithm::Sha256, vec![1, 2, 3])],
    };
    for one in [part(2, "\"b\""), part(1, "\"x\""), part(1, "\"a\"")] {
        ledger.add_uploaded_part(object(), "first".to_owned(), one).await.unwrap();
    }
    assert!(ledger.add_uploaded_part(object(), "another".to_owned(), part(3, "c")).await.is_err());
    let upload = ledger.upload(object()).await.unwrap().unwrap();
    assert_eq!((upload.id.as_deref(), &upload.parts), (Some("first"), &vec![part(1, "\"a\""), part(2, "\"b\"")]));
    assert_eq!(ledger.uploads_to_abort(Some(object())).await.unwrap(), []);
    for _ in 0..2 {
        ledger.end_upload(object(), UploadEnd::Restarted).await.unwrap();
        let again = ledger.upload(object()).await.unwrap().unwrap();
        assert_eq!(again, Upload { generation: 2, ..new.clone() }, "a second time changes nothing");
    }
    let first = (object(), "first".to_owned());
    assert_eq!(ledger.uploads_to_abort(Some(object())).await.unwrap(), std::slice::from_ref(&first));
    assert!(ledger.add_uploaded_part(object(), "first".to_owned(), part(1, "late")).await.is_err());
    ledger.begin_upload(object(), "second".to_owned()).await.unwrap();
    ledger.end_upload(object(), UploadEnd::Completed(None)).await.unwrap();
    assert_eq!(ledger.upload(object()).await.unwrap(), None);
    assert_eq!(ledger.uploads_to_abort(Some(object())).await.unwrap(), [first], "a completed one is not aborted");
    ledger.forget_upload(object(), "first".to_owned()).await.unwrap();
    ledger.add_upload(object(), "nonce".to_owned()).await.unwrap();
    ledger.begin_upload(object(), "third".to_owned()).await.unwrap();
    ledger.end_upload(object(), UploadEnd::Removed).await.unwrap();
    assert_eq!(ledger.uploads_to_abort(None).await.unwrap(), [(object(), "third".to_owned())]);
    ledger.forget_upload(object(), "third".to_owned()).await.unwrap();
}

fn new_download(object: &str) -> NewDownload {
    NewDownload {
        source: Source::Url { url: "http://a.test/film".to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: object.to_owned(),
        part: format!("{object}.part"),
        on_exists: OnExists::Fail,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

#[test]
fn sqlite_keeps_the_promises_of_an_upload_ledger() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = SqliteLedger::open(&folder.path().join("state.db")).expect("a ledger");
    smol::block_on(check_uploads(&ledger, "s3://films/one"));
}

#[test]
fn postgres_keeps_them_for_whoever_has_the_claim_and_for_nobody_else() {
    if std::env::var_os("REGRIP_TEST_POSTGRES").is_none() {
        eprintln!("SKIPPED: no database; run `tests/fleet/run tests/fleet/s3`");
        return;
    }
    let schema = Schema::new();
    let (one, other) = (schema.open(), schema.open());
    let object = "s3://films/one";
    smol::block_on(async {
        let now = SystemTime::now();
        let id = SendLedger::insert(&one, &new_download(object), now).await.unwrap();
        assert!(one.add_upload(object.to_owned(), "nonce".to_owned()).await.is_err(), "nobody has the claim");
        assert!(SendLedger::claim(&one, id, "one", now).await.unwrap());
        check_uploads(&one, object).await;
        let upload = one.add_upload(object.to_owned(), "nonce".to_owned()).await.unwrap();
        assert_eq!(upload.token, format!("{id}-nonce"));
        let part = UploadedPart { number: 1, size: 1, etag: "a".to_owned(), digests: Vec::new() };
        assert!(other.begin_upload(object.to_owned(), "first".to_owned()).await.is_err());
        one.begin_upload(object.to_owned(), "first".to_owned()).await.unwrap();
        assert!(other.add_uploaded_part(object.to_owned(), "first".to_owned(), part.clone()).await.is_err());
        for end in [UploadEnd::Restarted, UploadEnd::Removed, UploadEnd::Completed(None)] {
            assert!(other.end_upload(object.to_owned(), end).await.is_err(), "{end:?}");
        }
        // The claim goes to the other one, and the upload with it.
        SendLedger::release(&one, id, "one", Duration::ZERO).await.unwrap();
        assert!(SendLedger::claim(&other, id, "other", now).await.unwrap());
        assert!(one.add_uploaded_part(object.to_owned(), "first".to_owned(), part.clone()).await.is_err());
        assert!(one.end_upload(object.to_owned(), UploadEnd::Restarted).await.is_err());
        other.add_uploaded_part(object.to_owned(), "first".to_owned(), part).await.unwrap();
        assert_eq!(one.upload(object.to_owned()).await.unwrap().unwrap().parts.len(), 1);
    });
}
