//! Standard output as a part store (`-o -`): bytes go out once, in order, and come back never.
//!
//! Invariant: nothing but the bytes of files is written, each offset once. The last bytes are kept, so that what follows a
//! broken connection is compared with them first, as with a file's; what cannot be taken back is never started over.

use super::disk::{disk, errno};
use crate::sync::lock;
use regrip_core::hasher::Hasher;
use regrip_core::store::{
    Committed, Committing, Digest, DigestState, Found, OpenPart, Part, PartBytes, PartStore, PartToken, Replace,
    StoreRules,
};
use regrip_core::{Algorithm, Error};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What stands for a path in messages.
pub const STDOUT: &str = "standard output";

/// How many of the last bytes are kept.
const TAIL_BYTES: usize = 64 << 10;

/// How long a pipe in non-blocking mode is left alone when it is full.
const FULL_PIPE: Duration = Duration::from_millis(5);

/// Standard output. Clones are the same one.
#[derive(Clone, Debug)]
pub struct StdoutStore(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    /// Bytes of this file that were written.
    end: u64,
    /// The last of them.
    tail: Vec<u8>,
    /// Over all of them, as far as any are computed.
    digests: Vec<Hasher>,
    /// Nobody reads any more.
    closed: bool,
}

impl StdoutStore {
    /// The process's standard output.
    pub fn new() -> Self {
        StdoutStore(Arc::default())
    }

    /// Returns `true` once whoever read the output has gone.
    pub fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }
}

impl Default for StdoutStore {
    fn default() -> Self {
        StdoutStore::new()
    }
}

impl PartStore for StdoutStore {
    type Part = StdoutPart;

    async fn exists(&self, _part: &str) -> Result<bool, Error> {
        Ok(false)
    }

    /// The next file begins with `Create`; every other way of opening goes on with the one that is being written.
    async fn open(&self, _part: &str, how: OpenPart) -> Result<StdoutPart, Error> {
        if how == OpenPart::Create {
            *lock(&self.0) = Written::default();
        }
        let output = io::stdout().as_fd().try_clone_to_owned();
        let output = output.map_err(|error| disk("open", STDOUT.as_ref(), error))?;
        Ok(StdoutPart { store: self.clone(), output: Arc::new(output.into()) })
    }

    async fn commit(&self, _: StdoutPart, _: &str, _: Replace) -> Result<Committed, Error> {
        Ok(Committed::Durable)
    }

    async fn find(&self, _: &str, _: &str, _: &Committing) -> Result<Found, Error> {
        Ok(Found::Nothing)
    }

    async fn remove(&self, _part: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// The file that is being written to standard output.
#[derive(Debug)]
pub struct StdoutPart {
    store: StdoutStore,
    output: Arc<File>,
}

impl Part for StdoutPart {
    type Digest = Hasher;

    async fn length(&mut self) -> Result<u64, Error> {
        Ok(lock(&self.store.0).end)
    }

    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        match length == lock(&self.store.0).end {
            true => Ok(()),
            false => Err(Error::NotResumable),
        }
    }

    async fn reserve(&mut self, _size: u64) -> Result<(), Error> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<u64, Error> {
        Ok(lock(&self.store.0).end)
    }

    fn token(&self) -> PartToken {
        PartToken::default()
    }

    fn epoch(&self) -> String {
        format!("process {}", std::process::id())
    }

    fn rules(&self) -> StoreRules {
        StoreRules { read_back_bytes: TAIL_BYTES as u64, truncate: false, ..StoreRules::FILE }
    }

    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let stream = lock(&self.store.0);
        let first = stream.end - stream.tail.len() as u64;
        let at = |offset: u64| usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
        let stretch = stream.tail.get(at(from)..at(to)).unwrap_or_default();
        Ok(stretch.windows(2).all(|pair| pair.first() == pair.last()))
    }

    async fn digest(
        &mut self,
        algorithm: Algorithm,
        _saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        let stream = lock(&self.store.0);
        let mut digests = stream.digests.iter().filter(|_| to == stream.end);
        let known = digests.find(|digest| digest.algorithm() == algorithm);
        let fresh = (to == 0).then(|| Hasher::new(algorithm));
        Ok(fresh.or_else(|| known.cloned()))
    }
}

impl PartBytes<&[u8]> for StdoutPart {
    /// Waits on a thread of its own: whoever reads a pipe may take its time, and a signal must end the download meanwhile.
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        let fail = |error| disk("write to", STDOUT.as_ref(), error);
        if offset != lock(&self.store.0).end {
            return Err(fail(io::Error::other("the write would leave a hole")));
        }
        let (output, bytes) = (Arc::clone(&self.output), chunk.to_vec());
        let written = smol::unblock(move || write_all(&output, &bytes)).await;
        let mut stream = lock(&self.store.0);
        if let Err(error) = written {
            stream.closed |= errno(&error) == Some(Errno::PIPE);
            return Err(fail(error));
        }
        stream.end += chunk.len() as u64;
        stream.tail.extend_from_slice(chunk);
        let surplus = stream.tail.len().saturating_sub(TAIL_BYTES);
        stream.tail.drain(..surplus);
        digests.iter_mut().for_each(|digest| digest.update(chunk));
        stream.digests = digests.to_vec();
        Ok(())
    }

    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        let stream = lock(&self.store.0);
        let first = stream.end - stream.tail.len() as u64;
        let from = offset.checked_sub(first).and_then(|from| usize::try_from(from).ok());
        let kept = from.and_then(|from| stream.tail.get(from..)?.get(..chunk.len()));
        Ok(kept == Some(*chunk))
    }
}

fn write_all(mut output: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(FULL_PIPE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
