//! What the core relies on in a [`PartStore`].

use super::{Broken, ensure, ensure_fails, promises};
use crate::checksum::Algorithm;
use crate::error::Error;
use crate::hasher::Hasher;
use crate::store::{Committed, Committing, Found, OpenPart, PartStore, Replace};
use crate::store::{Digest, DigestState, Part, PartBytes, PartToken};
use crate::transport::Chunk;

/// A store, and what a test needs beside it.
pub trait StoreUnderTest {
    /// What its parts take.
    type Chunk<'a>: Chunk;
    /// The store.
    type Store: PartStore<Part: for<'a> PartBytes<Self::Chunk<'a>>>;

    /// The store.
    fn store(&self) -> &Self::Store;
    /// A chunk of these bytes.
    fn chunk<'a>(&self, bytes: &'a [u8]) -> Self::Chunk<'a>;
    /// Names of a part and its destination that nothing has yet, others each time.
    fn names(&self) -> Names;
    /// Somebody else writes a file.
    async fn put(&self, name: &str, bytes: &[u8]);
    /// The bytes of the file of that name, if there is one.
    async fn content(&self, name: &str) -> Option<Vec<u8>>;
}

/// The names of one download.
#[derive(Clone, Debug)]
pub struct Names {
    /// The part's.
    pub part: String,
    /// The finished file's.
    pub destination: String,
}

promises! { StoreUnderTest:
    a_part_is_created_unless_it_must_be_new,
    a_part_has_one_writer,
    written_bytes_are_counted_and_kept,
    a_part_never_has_a_hole,
    bytes_match_only_if_all_are_there_and_equal,
    a_stretch_of_one_repeated_byte_is_recognised,
    a_cut_part_stays_the_same_part,
    flush_returns_how_far_bytes_are_durable,
    tokens_tell_parts_apart,
    an_epoch_holds_within_a_process,
    reserving_room_changes_no_length,
    a_commit_gives_the_part_its_name,
    a_file_at_the_destination_is_replaced_only_if_asked,
    an_interrupted_commit_is_found,
    a_part_is_removed_once,
    a_digest_is_that_of_the_bytes,
}

type PartOf<S> = <<S as StoreUnderTest>::Store as PartStore>::Part;

const WAYS: [OpenPart; 3] = [OpenPart::Create, OpenPart::Claimed, OpenPart::Adopt];

/// Opening makes a part that is missing, whichever way; [`OpenPart::Create`] refuses one that is there and leaves it as it
/// is, the others take it up.
pub async fn a_part_is_created_unless_it_must_be_new<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    for how in WAYS {
        let Names { part: name, .. } = subject.names();
        ensure!(!store.exists(&name).await?, "a new name exists");
        let mut part = store.open(&name, how).await?;
        ensure!(part.length().await? == 0, "a new part has bytes");
        append(subject, &mut part, b"bytes").await?;
        drop(part);
        ensure!(store.exists(&name).await?, "a part does not exist");
        let again = store.open(&name, OpenPart::Create).await;
        ensure_fails!(again, Error::ForeignPart { .. }, "creating it again");
        for how in [OpenPart::Claimed, OpenPart::Adopt] {
            let length = store.open(&name, how).await?.length().await?;
            ensure!(length == 5, "{length} of 5 bytes are left");
        }
    }
    Ok(())
}

/// While a part is open nobody else opens or removes it.
pub async fn a_part_has_one_writer<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    let Names { part: name, .. } = subject.names();
    let part = store.open(&name, OpenPart::Create).await?;
    for how in [OpenPart::Claimed, OpenPart::Adopt] {
        let second = store.open(&name, how).await;
        ensure_fails!(second, Error::PartLocked { .. }, "opening it twice");
    }
    let removed = store.remove(&name).await;
    ensure_fails!(removed, Error::PartLocked { .. }, "removing an open one");
    let other = store.open(&subject.names().part, OpenPart::Create).await?;
    drop((part, other));
    store.open(&name, OpenPart::Claimed).await?;
    Ok(())
}

/// Bytes are appended in the order of the calls, count at once, and are there after the part was closed.
// D04
pub async fn written_bytes_are_counted_and_kept<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    let Names { part: name, .. } = subject.names();
    let mut part = store.open(&name, OpenPart::Create).await?;
    for bytes in [b"abc".as_slice(), b"", b"defg"] {
        append(subject, &mut part, bytes).await?;
    }
    let length = part.length().await?;
    ensure!(length == 7, "the length is {length}, not 7");
    drop(part);
    let mut part = store.open(&name, OpenPart::Claimed).await?;
    append(subject, &mut part, b"h").await?;
    let length = part.length().await?;
    ensure!(length == 8, "the length is {length} after reopening, not 8");
    if part.rules().read_back_bytes >= 8 {
        let same = part.matches(0, &subject.chunk(b"abcdefgh")).await?;
        ensure!(same, "other bytes are in it");
    }
    Ok(())
}

/// A write past the end, or a cut to more than the length, fails and changes nothing.
// D04
pub async fn a_part_never_has_a_hole<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    append(subject, &mut part, b"abc").await?;
    let written = part.write(4, subject.chunk(b"e"), &mut []).await;
    ensure!(written.is_err(), "a write past the end is taken");
    ensure!(part.truncate(4).await.is_err(), "a cut makes it longer");
    let length = part.length().await?;
    ensure!(length == 3, "the length is {length}, not 3");
    Ok(())
}

/// A comparison holds only if every byte is there and equal; what cannot be read back is never taken to be equal.
// D08
pub async fn bytes_match_only_if_all_are_there_and_equal<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    let bytes = pattern(600_000);
    append(subject, &mut part, &bytes).await?;
    let end = bytes.len() as u64;
    let first = end.saturating_sub(part.rules().read_back_bytes);
    let kept = tail(&bytes, first);
    let mut other = kept.to_vec();
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    let longer = [kept, b"x"].concat();
    for (what, at, bytes, expected) in [
        ("all that is kept", first, kept, true),
        ("its last bytes", end - 7, tail(&bytes, end - 7), kept.len() >= 7),
        ("another last byte", first, other.as_slice(), kept.is_empty()),
        ("a byte past its end", first, longer.as_slice(), false),
        ("a byte at its end", end, b"x", false),
        ("a byte far past its end", 1 << 40, b"x", false),
        ("bytes of another place", end - 8, tail(&bytes, end - 7), false),
        ("more than is kept", 0, bytes.as_slice(), first == 0),
    ] {
        let same = part.matches(at, &subject.chunk(bytes)).await?;
        ensure!(same == expected, "{what}: {same}");
    }
    ensure!(part.length().await? == end, "comparing changes the length");
    Ok(())
}

/// A range of one repeated byte is recognised, if it can be read back.
pub async fn a_stretch_of_one_repeated_byte_is_recognised<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    append(subject, &mut part, &[7; 600_000]).await?;
    let end = 600_000;
    let kept = part.rules().read_back_bytes.min(end);
    if kept < 3 {
        return Ok(());
    }
    let first = end - kept;
    ensure!(part.is_uniform(first, end).await?, "equal bytes differ");
    append(subject, &mut part, b"x").await?;
    let first = first + 1; // a tail has moved on by a byte
    ensure!(!part.is_uniform(first, end + 1).await?, "an x is a 7");
    ensure!(part.is_uniform(first, end).await?, "an x after the end counts");
    ensure!(part.is_uniform(end, end + 1).await?, "one byte differs from itself");
    Ok(())
}

/// Cutting discards the bytes after an offset and keeps the part. A store that cannot cut says so, and keeps every byte.
pub async fn a_cut_part_stays_the_same_part<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    append(subject, &mut part, b"abcdef").await?;
    part.flush().await?;
    let token = part.token();
    if !part.rules().truncate {
        ensure!(part.truncate(2).await.is_err(), "it can be cut");
        part.truncate(6).await?;
        ensure!(part.length().await? == 6, "a refused cut changes it");
        return Ok(());
    }
    for (length, bytes) in [(2, "abnew"), (0, "new")] {
        part.truncate(length).await?;
        let left = part.length().await?;
        ensure!(left == length, "{left} bytes are left, not {length}");
        append(subject, &mut part, b"new").await?;
        if part.rules().read_back_bytes >= 5 {
            let same = part.matches(0, &subject.chunk(bytes.as_bytes())).await?;
            ensure!(same, "other bytes after a cut to {length}");
        }
    }
    ensure!(part.token() == token, "it is another part after the cut");
    Ok(())
}

/// A flush makes whole units of [`durable_unit_bytes`](crate::store::StoreRules::durable_unit_bytes) durable, as many as
/// there are, and says how far that goes. The offset only grows.
pub async fn flush_returns_how_far_bytes_are_durable<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    let unit = part.rules().durable_unit_bytes;
    ensure!(unit > 0, "a unit of no bytes");
    ensure!(part.flush().await? == 0, "an empty part has durable bytes");
    let mut before = 0;
    for bytes in [1, 999, unit.min(1 << 24)] {
        append(subject, &mut part, &pattern(bytes)).await?;
        let (durable, length) = (part.flush().await?, part.length().await?);
        let whole = durable == length || durable.is_multiple_of(unit);
        ensure!(whole, "{durable} is no multiple of {unit}");
        ensure!(durable <= length, "{durable} of {length} bytes");
        ensure!(length - durable < unit, "{durable} of {length} bytes");
        ensure!(durable >= before, "{durable} after {before}");
        before = durable;
    }
    Ok(())
}

/// Two parts never have one token, and a part keeps its own as long as it is there.
pub async fn tokens_tell_parts_apart<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    let (one, other) = (subject.names().part, subject.names().part);
    let mut part = store.open(&one, OpenPart::Create).await?;
    append(subject, &mut part, b"same").await?;
    let token = part.token();
    let mut second = store.open(&other, OpenPart::Create).await?;
    append(subject, &mut second, b"same").await?;
    ensure!(second.token() != token, "two parts have one token");
    drop(part);
    let again = store.open(&one, OpenPart::Claimed).await?.token();
    ensure!(again == token, "a part has another token when reopened");
    Ok(())
}

/// Within a process the epoch stays the same, and no other one is taken for it.
pub async fn an_epoch_holds_within_a_process<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    let Names { part: name, .. } = subject.names();
    let epoch = store.open(&name, OpenPart::Create).await?.epoch();
    ensure!(!epoch.is_empty(), "an epoch without a name");
    let part = store.open(&name, OpenPart::Claimed).await?;
    ensure!(part.is_of_epoch(&epoch), "the epoch ended with the part");
    ensure!(part.is_of_epoch(&part.epoch()), "its own epoch is another");
    for other in [String::new(), format!("{epoch}1"), "another".to_owned()] {
        ensure!(!part.is_of_epoch(&other), "{other:?} is its epoch");
    }
    Ok(())
}

/// Reserving room adds no byte, before or after the commit.
pub async fn reserving_room_changes_no_length<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, destination } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    append(subject, &mut part, b"abc").await?;
    match part.reserve(8 << 20).await {
        Ok(()) | Err(Error::DiskFull { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let length = part.length().await?;
    ensure!(length == 3, "the length is {length}, not 3");
    commit(subject, part, &destination, Replace::Existing).await?;
    expect_content(subject, &destination, b"abc").await
}

/// A committed part is at its destination, with all of its bytes, and no longer under its own name.
pub async fn a_commit_gives_the_part_its_name<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    for replace in [Replace::Existing, Replace::Nothing] {
        let names = subject.names();
        let part = whole(subject, &names).await?;
        commit(subject, part, &names.destination, replace).await?;
        expect_content(subject, &names.destination, b"new").await?;
        let left = subject.store().exists(&names.part).await?;
        ensure!(!left, "the part is still there");
    }
    Ok(())
}

/// [`Replace::Nothing`] refuses a destination that exists and keeps the part; [`Replace::Existing`] replaces it.
pub async fn a_file_at_the_destination_is_replaced_only_if_asked<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let names = subject.names();
    subject.put(&names.destination, b"old").await;
    let part = whole(subject, &names).await?;
    let kept = subject.store().commit(part, &names.destination, Replace::Nothing);
    ensure_fails!(kept.await, Error::DestinationExists { .. }, "the commit");
    expect_content(subject, &names.destination, b"old").await?;
    let mut part = subject.store().open(&names.part, OpenPart::Claimed).await?;
    ensure!(part.length().await? == 3, "the part has lost its bytes");
    commit(subject, part, &names.destination, Replace::Existing).await?;
    expect_content(subject, &names.destination, b"new").await
}

/// After a crash the file is found under the name that it has, by its token and its size.
// C05, C06, C07
pub async fn an_interrupted_commit_is_found<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let names = subject.names();
    let part = whole(subject, &names).await?;
    let token = part.token();
    let find = async |token: &PartToken, size| {
        let committing = Committing { token: token.clone(), size };
        let found = subject.store().find(&names.part, &names.destination, &committing);
        found.await.map_err(Broken::from)
    };
    drop(part);
    ensure!(find(&token, 3).await? == Found::Part, "the part is not found");
    let part = subject.store().open(&names.part, OpenPart::Claimed).await?;
    commit(subject, part, &names.destination, Replace::Nothing).await?;
    ensure!(find(&token, 3).await? == Found::Destination, "the file is not found");
    ensure!(find(&token, 4).await? == Found::Nothing, "a file of another size is found");
    let other = whole(subject, &subject.names()).await?.token();
    ensure!(find(&other, 3).await? == Found::Nothing, "another file is found");
    let Names { part, destination } = subject.names();
    let committing = Committing { token, size: 3 };
    let found = subject.store().find(&part, &destination, &committing).await?;
    ensure!(found == Found::Nothing, "something is found under new names");
    Ok(())
}

/// A removed part is gone; removing it again is no error, and the name can be used anew.
pub async fn a_part_is_removed_once<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let store = subject.store();
    let names = subject.names();
    drop(whole(subject, &names).await?);
    store.remove(&names.part).await?;
    ensure!(!store.exists(&names.part).await?, "it is still there");
    store.remove(&names.part).await?;
    let mut part = store.open(&names.part, OpenPart::Create).await?;
    ensure!(part.length().await? == 0, "its bytes are back");
    Ok(())
}

/// A digest is the hash of the part's bytes: taken while they are written, read from the part, or continued from a saved
/// state. A state that is of no use is ignored. There is none if the bytes would have to be read and cannot be.
pub async fn a_digest_is_that_of_the_bytes<S: StoreUnderTest>(subject: &S) -> Result<(), Broken> {
    let Names { part: name, .. } = subject.names();
    let mut part = subject.store().open(&name, OpenPart::Create).await?;
    let bytes = pattern(70_001);
    let mut digests = Vec::new();
    for algorithm in Algorithm::ALL {
        digests.extend(part.digest(algorithm, None, 0).await?);
    }
    ensure!(digests.len() == 4, "an algorithm is missing");
    let mut states = Vec::new();
    let mut at = 0;
    // A block of a hash is 64 or 128 bytes.
    for end in [1, 63, 64, 65, 10_007, 65_536, 70_001] {
        let piece = head(tail(&bytes, at), end - at);
        part.write(at, subject.chunk(piece), &mut digests).await?;
        at = end;
        for digest in &digests {
            let state = digest.save().map(|state| DigestState { offset: at, state });
            states.extend(state.map(|state| (digest.algorithm(), state)));
        }
    }
    for digest in digests {
        let right = Hasher::of(digest.algorithm(), &bytes).hex;
        ensure!(digest.finish() == right, "wrong while writing");
    }
    let useless = [(9, 0), (at + 1, 104)].map(|(offset, bytes)| DigestState { offset, state: vec![7; bytes] });
    for algorithm in Algorithm::ALL {
        let right = Hasher::of(algorithm, &bytes).hex;
        // Those of other algorithms are of no use.
        let saved = states.iter().map(|(_, state)| state).chain(&useless);
        for saved in saved.map(Some).chain([None]) {
            let from = saved.map_or(0, |saved| saved.offset);
            match part.digest(algorithm, saved, at).await? {
                Some(digest) => ensure!(digest.finish() == right, "wrong from {from} on"),
                None => ensure!(part.rules().read_back_bytes < at, "none from {from} on"),
            }
        }
        let own = states.iter().rfind(|(name, _)| *name == algorithm);
        if let Some(first) = part.digest(algorithm, own.map(|own| &own.1), 5).await? {
            let right = Hasher::of(algorithm, head(&bytes, 5)).hex;
            ensure!(first.finish() == right, "wrong up to 5");
        }
    }
    Ok(())
}

async fn append<S: StoreUnderTest>(subject: &S, part: &mut PartOf<S>, bytes: &[u8]) -> Result<(), Broken> {
    let end = part.length().await?;
    Ok(part.write(end, subject.chunk(bytes), &mut []).await?)
}

/// A synced part of three bytes.
async fn whole<S: StoreUnderTest>(subject: &S, names: &Names) -> Result<PartOf<S>, Broken> {
    let mut part = subject.store().open(&names.part, OpenPart::Create).await?;
    append(subject, &mut part, b"new").await?;
    part.flush().await?;
    Ok(part)
}

async fn commit<S: StoreUnderTest>(
    subject: &S,
    part: PartOf<S>,
    destination: &str,
    replace: Replace,
) -> Result<(), Broken> {
    match subject.store().commit(part, destination, replace).await? {
        Committed::Durable => Ok(()),
        Committed::WithWarning(error) => Err(error.into()),
    }
}

async fn expect_content<S: StoreUnderTest>(subject: &S, name: &str, bytes: &[u8]) -> Result<(), Broken> {
    let content = subject.content(name).await;
    ensure!(content.as_deref() == Some(bytes), "other bytes at the destination");
    Ok(())
}

/// Bytes that repeat at no power of two.
fn pattern(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn head(bytes: &[u8], to: u64) -> &[u8] {
    let to = usize::try_from(to).unwrap_or(usize::MAX);
    bytes.get(..to).unwrap_or(bytes)
}

fn tail(bytes: &[u8], from: u64) -> &[u8] {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    bytes.get(from..).unwrap_or_default()
}
