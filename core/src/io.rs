//! The traits through which everything reaches the core: transport, part store, digest, ledger, clock, randomness.
//!
//! They are plain `async fn`s without a `Send` bound. The core never spawns, so whether a download may cross threads is
//! decided where it is spawned, by the compiler, from the host's own types. The smallest implementation of all of them, not
//! `Send` and on `futures::executor::LocalPool`, is in `tests/tests/local_pool.rs`; a complete fake one is
//! [`testing`](crate::testing).

use crate::error::Error;
use crate::event::Event;
use crate::record::{
    Change, Committing, DigestState, DownloadId, FileId, Mark, NewAttempt, NewDownload, Row,
};
use std::future::Future;
use std::time::{Duration, SystemTime};

/// All that a host brings.
pub trait Host {
    /// Fetches over HTTP.
    type Transport: Transport;
    /// Keeps part files.
    type Store: PartStore<
        Part: for<'a> PartBytes<<<Self::Transport as Transport>::Body as Body>::Chunk<'a>>,
    >;
    /// Remembers downloads.
    type Ledger: Ledger;
    /// Tells and waits for time.
    type Clock: Clock;

    /// The transport.
    fn transport(&self) -> &Self::Transport;
    /// The part store.
    fn store(&self) -> &Self::Store;
    /// The ledger.
    fn ledger(&self) -> &Self::Ledger;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// A seed from the system's own entropy, another one each time: every download draws its jitter from its own generator.
    fn seed(&self) -> u64;
    /// Is told of everything a user may want to see. Called often and in the transfer's own task: hand over and return.
    fn on_event(&self, event: &Event<'_>);
    /// Whether a SHA-256 of this download is computed, in an engine that computes them at all.
    fn wants_digest(&self, _row: &Row) -> bool {
        true
    }
    /// Whether a download with `overwrite` may replace what is at its destination now; asked right before it is committed.
    async fn may_replace(&self, _row: &Row) -> Result<bool, Error> {
        Ok(true)
    }
}

// ---- transport ----

/// What to ask for. The transport adds `Accept-Encoding: identity` and its own credentials, and nothing that changes the
/// meaning of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Absolute, http or https, without userinfo.
    pub url: &'a str,
    /// `Range: bytes=<first>-` where given.
    pub first: Option<u64>,
    /// `If-Range`, as it goes on the wire.
    pub if_range: Option<&'a str>,
}

/// A response whose head is there and whose body is still on the wire.
#[derive(Debug)]
pub struct Response<B> {
    /// 200 to 599. Interim responses (1xx) and followed redirects never come this far.
    pub status: u16,
    /// The fields the core may ask for, see [`Headers`].
    pub headers: Headers,
    /// Dropping it closes the connection at once.
    pub body: B,
}

/// Header fields in the order they came, duplicates kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The names the core reads, lower-case. A host may leave all others out.
    pub const NAMES: [&'static str; 11] = [
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "repr-digest",
        "retry-after",
        "transfer-encoding",
        "location",
    ];

    /// Adds a field. `name` in any case; a value that is not ASCII is kept as Latin-1 reads it.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let value = value.iter().map(|&byte| char::from(byte)).collect();
        self.0.push((name.to_ascii_lowercase(), value));
    }

    /// Every value of a field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(have, _)| have == name)
            .map(|(_, value)| value.trim_ascii())
    }

    /// The value of a field that came exactly once.
    pub fn only<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_ref(), value.as_ref());
        }
        headers
    }
}

/// What a host's HTTP client can and must do, for one URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// `If-Range` can be sent. Not so on a cross-origin `fetch`, where it causes a preflight that many servers refuse.
    pub if_range: bool,
    /// Every request carries a Range, `bytes=0-` at offset 0: without one `fetch` asks for codings.
    pub range_always: bool,
}

impl RequestRules {
    /// A client that can send what it likes.
    pub const FREE: RequestRules = RequestRules {
        if_range: true,
        range_always: false,
    };
}

/// Fetches over HTTP.
pub trait Transport {
    /// The body of a response.
    type Body: Body;

    /// What this transport can send to `url`.
    fn rules(&self, url: &str) -> RequestRules;

    /// Sends a GET and waits for the response head, within the transport's own connect and header timeouts.
    ///
    /// # Errors
    /// `Network`, `Timeout`, `Protocol`, `Certificate`, `RedirectRefused`, `AddressRefused`, `ProxyRefused`. An
    /// error status is a response.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    async fn get(&self, request: Request<'_>) -> Result<Response<Self::Body>, Error>;

    /// Waits until so many bytes may be taken on: where a user limits the rate. It is called for each chunk between the one
    /// wait for the network and the next, so that this wait counts neither as idle nor as slow.
    ///
    /// # Cancel safety
    /// A dropped wait may have used up what it asked for.
    async fn pace(&self, bytes: u64) {
        let _ = bytes; // no limit
    }
}

/// The bytes of a response, lent chunk by chunk.
pub trait Body {
    /// A chunk that borrows from the body, so that no copy is needed on the way to the disk.
    type Chunk<'a>: Chunk
    where
        Self: 'a;

    /// Waits for the next chunk, never empty; `None` is the proven end of the body (its length reached, its last chunk
    /// seen, or the connection closed where nothing else delimits it).
    ///
    /// # Errors
    /// `Network` or `Incomplete` where the body is cut, `Protocol` where its framing is broken.
    async fn chunk(&mut self) -> Result<Option<Self::Chunk<'_>>, Error>;
}

/// A piece of a body. The core counts its bytes and never looks at them.
pub trait Chunk: Sized {
    /// Its length in bytes.
    fn length(&self) -> u64;
    /// The first `at` bytes (at most all of them) and the rest.
    fn split_at(self, at: u64) -> (Self, Self);
}

impl Chunk for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn split_at(self, at: u64) -> (Self, Self) {
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
        <[u8]>::split_at(self, at)
    }
}

// ---- part store ----

/// How to open a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPart {
    /// It must not be there yet, else `ForeignPart`.
    Create,
    /// The ledger claims it: take it up, or create it where it is gone.
    Claimed,
    /// Take up whatever is there, or create it.
    Adopt,
}

/// How the part gets its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// A regular file at the destination is replaced, atomically.
    Existing,
    /// A file at the destination is an error, `DestinationExists`, and the part stays.
    Nothing,
}

/// What start-up finds of a download that was `committing` when the process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The part is there: the rename has not happened.
    Part,
    /// The destination is the very file that was the part.
    Destination,
    /// Neither.
    Nothing,
}

/// A part that has its final name.
#[derive(Debug)]
#[must_use]
pub enum Committed {
    /// The name is durable.
    Durable,
    /// The file has its name, but something after that failed: the name may be lost in a power failure, or the part's
    /// name is still beside it.
    WithWarning(Error),
}

/// Keeps part files and gives them their final names.
pub trait PartStore {
    /// An open, locked part.
    type Part: Part;

    /// Whether anything has the part's name.
    ///
    /// # Errors
    /// `Disk` where the folder cannot be read.
    async fn exists(&self, part: &str) -> Result<bool, Error>;

    /// Opens the part and locks it against other writers, links not followed.
    ///
    /// # Errors
    /// `ForeignPart`, `PartLocked`, `Disk`, `DiskFull`, `TooManyFiles`.
    async fn open(&self, part: &str, how: OpenPart) -> Result<Self::Part, Error>;

    /// Renames a synced part to its destination and syncs the folder. What fails after the rename is a warning.
    ///
    /// # Errors
    /// `DestinationExists`, `DestinationRefused`, `Disk`; the part is still there then.
    async fn commit(
        &self,
        part: Self::Part,
        destination: &str,
        replace: Replace,
    ) -> Result<Committed, Error>;

    /// Looks for what an interrupted [`commit`](Self::commit) left. A destination of another size is not the file.
    ///
    /// # Errors
    /// `Disk`.
    async fn find(
        &self,
        part: &str,
        destination: &str,
        committing: &Committing,
    ) -> Result<Found, Error>;

    /// Removes the part, where there is one.
    ///
    /// # Errors
    /// `PartLocked`, `Disk`.
    async fn remove(&self, part: &str) -> Result<(), Error>;

    /// Changes with every boot of the machine: as long as it is the same, a crash of this process lost no written page.
    fn boot_id(&self) -> String;
}

/// An open part. Dropping it unlocks and closes it.
pub trait Part {
    /// A digest over the part's bytes.
    type Digest: Digest;

    /// Its length in bytes.
    async fn length(&mut self) -> Result<u64, Error>;

    /// Cuts the part to `length` bytes. The file stays the same file.
    async fn truncate(&mut self, length: u64) -> Result<(), Error>;

    /// Reserves room for `size` bytes without changing the length, where the file system can; otherwise does nothing.
    ///
    /// # Errors
    /// `DiskFull`.
    async fn reserve(&mut self, size: u64) -> Result<(), Error>;

    /// Returns once all that was written is durable.
    async fn sync(&mut self) -> Result<(), Error>;

    /// What identifies the file wherever it is renamed to.
    fn file_id(&self) -> FileId;

    /// A digest of the part's first `to` bytes, continued from `saved` where that is usable, else by reading them all.
    async fn digest(&mut self, saved: Option<&DigestState>, to: u64)
    -> Result<Self::Digest, Error>;
}

/// What a part does with the chunks of one kind of body.
pub trait PartBytes<C>: Part {
    /// Writes a chunk at `offset`, which is the part's length, and takes it into `digest`.
    ///
    /// # Errors
    /// `DiskFull`, `Disk`.
    async fn write(
        &mut self,
        offset: u64,
        chunk: C,
        digest: Option<&mut Self::Digest>,
    ) -> Result<(), Error>;

    /// Whether the part's bytes at `offset` are those of the chunk. The part is not changed.
    async fn matches(&mut self, offset: u64, chunk: C) -> Result<bool, Error>;
}

/// A running SHA-256.
pub trait Digest {
    /// Its state, from which [`Part::digest`] can go on; `None` where the hasher cannot tell.
    fn save(&self) -> Option<Vec<u8>>;
    /// Lower-case hex of all bytes so far.
    fn finish(self) -> String;
}

// ---- ledger ----

/// Remembers downloads. Each call is one transaction: when it returns, it is durable.
pub trait Ledger {
    /// Adds a row with status `queued`.
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error>;

    /// Reads a row.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    async fn row(&self, id: DownloadId) -> Result<Row, Error>;

    /// The rows for a destination, newest first.
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error>;

    /// The rows that are not finished: `queued`, `downloading`, `waiting`, `committing`. Reads only.
    async fn unfinished(&self) -> Result<Vec<Row>, Error>;

    /// The same rows, no more of each than decides which are driven. A ledger that may have many of them reads no more.
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let rows = self.unfinished().await?;
        Ok(rows.into_iter().map(Mark::from).collect())
    }

    /// Counts an attempt, atomically, and opens its line in the timeline. Returns its number over the row's whole life.
    ///
    /// # Errors
    /// `WrongState` where the row is finished, `NoSuchDownload`, `Ledger`.
    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error>;

    /// Applies a change; see [`Row::apply`] for what each one means. Whether the row
    /// [admits](crate::record::Status::admits) it is decided in the same transaction.
    ///
    /// # Errors
    /// `WrongState` with the status that does not admit it, `NoSuchDownload`, `Ledger`.
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error>;

    /// Deletes a row and its timeline.
    async fn remove(&self, id: DownloadId) -> Result<(), Error>;
}

// ---- clock ----

/// A point on the host's monotonic clock: time since some fixed moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Duration);

impl Instant {
    /// Time from `earlier` to here; zero where the clock went backwards.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
    /// The instant `after` this one.
    pub fn after(self, after: Duration) -> Instant {
        Instant(self.0.saturating_add(after))
    }
}

/// Tells and waits for time. Deadlines use [`now`](Clock::now); only dates on the wire and in records use [`wall`](Clock::wall).
pub trait Clock {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock, which may jump.
    fn wall(&self) -> SystemTime;
    /// Ends no earlier than `duration` from now.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<Self>;
}

/// The random source of the jitter.
pub trait Random {
    /// Uniform in `0..=max`.
    fn up_to(&mut self, max: u64) -> u64;
}

impl Random for fastrand::Rng {
    fn up_to(&mut self, max: u64) -> u64 {
        self.u64(0..=max)
    }
}
