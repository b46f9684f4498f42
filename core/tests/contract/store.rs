//! The store's contract.

use crate::{assert_all_broken, holds};
use regrip_core::hasher::Hasher;
use regrip_core::store::*;
use regrip_core::testing::contract::store::{Names, PROMISES, StoreUnderTest, check, check_all};
use regrip_core::testing::{MemoryPart, MemoryStore, VirtualClock};
use regrip_core::{Algorithm, Error};
use std::cell::Cell;
use std::rc::Rc;

/// A store in memory with a flaw; without a name it has none.
#[derive(Clone, Default)]
pub(crate) struct Flawed {
    flaw: &'static str,
    disk: MemoryStore,
    count: Rc<Cell<u32>>,
}

impl Flawed {
    fn with(flaw: &'static str) -> Flawed {
        let flawed = Flawed { flaw, ..Flawed::default() };
        if flaw == "flushes half units" {
            flawed.disk.set_rules(StoreRules { durable_unit_bytes: 100, ..StoreRules::FILE });
        }
        flawed
    }

    fn next(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }
}

impl StoreUnderTest for Flawed {
    type Chunk<'a> = &'a [u8];
    type Store = Flawed;

    fn store(&self) -> &Flawed {
        self
    }
    fn chunk<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
    }
    fn names(&self) -> Names {
        let destination = format!("/films/{}", self.next());
        Names { part: format!("{destination}.part"), destination }
    }
    async fn put(&self, name: &str, bytes: &[u8]) {
        self.disk.put(name, bytes);
    }
    async fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.disk.file(name)
    }
}

impl PartStore for Flawed {
    type Part = FlawedPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        self.disk.exists(part).await
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<FlawedPart, Error> {
        let how = match self.flaw {
            "takes up what it must create" => OpenPart::Adopt,
            _ => how,
        };
        if self.flaw == "opens a part twice" {
            self.disk.crash(); // takes every lock away
        }
        let inner = self.disk.open(part, how).await?;
        Ok(FlawedPart { inner, name: part.to_owned(), store: self.clone(), opened: self.next() })
    }

    async fn commit(&self, part: FlawedPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        let name = part.name;
        let replace = match self.flaw {
            "always replaces" => Replace::Existing,
            _ => replace,
        };
        let committed = self.disk.commit(part.inner, destination, replace).await;
        match self.flaw {
            "keeps the part's name" => self.disk.put(&name, b"new"),
            "loses the part it cannot commit" if committed.is_err() => {
                self.disk.remove(&name).await?;
            }
            _ => {}
        }
        committed
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        let mut committing = committing.clone();
        if self.flaw == "finds a file of any size" {
            committing.size = self.disk.file(destination).unwrap_or_default().len() as u64;
        }
        if self.flaw == "finds any file" && self.disk.exists(destination).await? {
            return Ok(Found::Destination);
        }
        self.disk.find(part, destination, &committing).await
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        if self.flaw == "removes an open part" {
            self.disk.crash();
        }
        if self.flaw == "fails to remove nothing" && !self.disk.exists(part).await? {
            return Err(Error::Lost);
        }
        self.disk.remove(part).await
    }
}

pub(crate) struct FlawedPart {
    inner: MemoryPart,
    name: String,
    store: Flawed,
    opened: u32,
}

impl Part for FlawedPart {
    type Digest = Hasher;

    async fn length(&mut self) -> Result<u64, Error> {
        self.inner.length().await
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        match self.store.flaw {
            "cuts nothing" => Ok(()),
            "cuts to nothing" => self.inner.truncate(0).await,
            _ => self.inner.truncate(length).await,
        }
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        if self.store.flaw == "reserves by writing" {
            let end = self.inner.length().await?;
            return self.inner.write(end, &vec![0; size as usize], &mut []).await;
        }
        self.inner.reserve(size).await
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        let durable = self.inner.flush().await?;
        Ok(match self.store.flaw {
            "flushes more than it has" if durable > 0 => durable + 1,
            "flushes nothing" => 0,
            "flushes half units" => durable / 2,
            _ => durable,
        })
    }
    fn token(&self) -> PartToken {
        match self.store.flaw {
            "has one token" => PartToken("part".to_owned()),
            "has a token for each opening" => PartToken(self.opened.to_string()),
            _ => self.inner.token(),
        }
    }
    fn epoch(&self) -> String {
        match self.store.flaw {
            "has an epoch for each opening" => self.opened.to_string(),
            _ => self.inner.epoch(),
        }
    }
    fn is_of_epoch(&self, recorded: &str) -> bool {
        self.store.flaw == "is of any epoch" || recorded == self.epoch()
    }
    fn rules(&self) -> StoreRules {
        self.inner.rules()
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let every = self.store.flaw == "finds every stretch uniform";
        Ok(every || self.inner.is_uniform(from, to).await?)
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        match saved {
            // A hash that takes in nothing of what comes after the state.
            Some(saved) if self.store.flaw == "continues from any state" => {
                let mut hasher = Hasher::new(algorithm);
                hasher.restore(&saved.state);
                Ok(Some(hasher))
            }
            _ if self.store.flaw == "knows one algorithm" => self.inner.digest(Algorithm::Sha256, saved, to).await,
            _ => self.inner.digest(algorithm, saved, to).await,
        }
    }
}

impl PartBytes<&[u8]> for FlawedPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        let length = self.inner.length().await?;
        match self.store.flaw {
            "loses what is written after it was reopened" if self.opened > 2 => Ok(()),
            "writes holes" if offset > length => {
                let hole = vec![0; (offset - length) as usize];
                self.inner.write(length, &hole, &mut []).await?;
                self.inner.write(offset, chunk, digests).await
            }
            "hashes nothing" => self.inner.write(offset, chunk, &mut []).await,
            _ => self.inner.write(offset, chunk, digests).await,
        }
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        let length = self.inner.length().await?;
        match self.store.flaw {
            "finds everything equal" => Ok(true),
            "compares what is there" => {
                let there = length.saturating_sub(offset).min(chunk.len() as u64);
                self.inner.matches(offset, &&chunk[..there as usize]).await
            }
            _ => self.inner.matches(offset, chunk).await,
        }
    }
}

#[test]
fn the_store_in_memory_keeps_the_contract_whatever_its_rules() {
    for rules in [
        StoreRules::FILE,
        StoreRules { read_back_bytes: 65_536, truncate: false, durable_unit_bytes: 8 << 20 },
        StoreRules { read_back_bytes: 0, truncate: false, durable_unit_bytes: 1 },
    ] {
        let subject = Flawed::default();
        subject.disk.set_rules(rules);
        let checked = VirtualClock::default().run(check_all(&subject, &[]));
        assert_eq!(checked, Some(Ok(())), "{rules:?}");
        assert_eq!(subject.disk.open_parts(), 0);
    }
}

#[test]
fn a_store_that_breaks_a_promise_is_found_out() {
    let broken = [
        ("a_part_is_created_unless_it_must_be_new", "takes up what it must create"),
        ("a_part_has_one_writer", "opens a part twice"),
        ("a_part_has_one_writer", "removes an open part"),
        ("written_bytes_are_counted_and_kept", "loses what is written after it was reopened"),
        ("a_part_never_has_a_hole", "writes holes"),
        ("bytes_match_only_if_all_are_there_and_equal", "finds everything equal"),
        ("bytes_match_only_if_all_are_there_and_equal", "compares what is there"),
        ("a_stretch_of_one_repeated_byte_is_recognised", "finds every stretch uniform"),
        ("a_cut_part_stays_the_same_part", "cuts nothing"),
        ("a_cut_part_stays_the_same_part", "cuts to nothing"),
        ("flush_returns_how_far_bytes_are_durable", "flushes more than it has"),
        ("flush_returns_how_far_bytes_are_durable", "flushes nothing"),
        ("flush_returns_how_far_bytes_are_durable", "flushes half units"),
        ("tokens_tell_parts_apart", "has one token"),
        ("tokens_tell_parts_apart", "has a token for each opening"),
        ("an_epoch_holds_within_a_process", "has an epoch for each opening"),
        ("an_epoch_holds_within_a_process", "is of any epoch"),
        ("reserving_room_changes_no_length", "reserves by writing"),
        ("a_commit_gives_the_part_its_name", "keeps the part's name"),
        ("a_file_at_the_destination_is_replaced_only_if_asked", "always replaces"),
        ("a_file_at_the_destination_is_replaced_only_if_asked", "loses the part it cannot commit"),
        ("an_interrupted_commit_is_found", "finds a file of any size"),
        ("an_interrupted_commit_is_found", "finds any file"),
        ("a_part_is_removed_once", "fails to remove nothing"),
        ("a_digest_is_that_of_the_bytes", "hashes nothing"),
        ("a_digest_is_that_of_the_bytes", "continues from any state"),
        ("a_digest_is_that_of_the_bytes", "knows one algorithm"),
    ];
    assert_all_broken(PROMISES, &broken);
    for (promise, flaw) in broken {
        let kept = holds(&VirtualClock::default(), check(promise, &Flawed::with(flaw)));
        assert!(!kept, "{promise} holds for a store that {flaw}");
    }
}
