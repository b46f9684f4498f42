//! The contract of a part store.

use crate::storage::Storage;
use regrip::ledger::SqliteLedger;
use regrip::store::{ObjectStore, S3Settings};
use regrip::transport::TransportOptions;
use regrip_core::RetryPolicy;
use regrip_core::testing::contract::store::{Names, StoreUnderTest, check_all};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
