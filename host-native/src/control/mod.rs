//! The running downloads of a server, for the API, the watch folder and the start of the server.
//!
//! Begin with [`Control`]. It has no policy of its own: the core's engine decides, the ledger records. [`Events`] is the
//! host's listener: it counts, and passes events to subscribers. [`Stubs`], [`Peers`] and [`Troubles`] hold what the API shows
//! beside downloads.
//!
//! Invariants: a download has one task at a time; if it is started again meanwhile, the row is looked at again when the task
//! ends. A slow subscriber loses events and learns that it did; it never delays a download.

mod downloads;
mod events;
mod status;
mod tasks;
mod torrents;

pub(crate) use crate::accept::{Acceptance, Wanted, accept, foreign_file, is_complete};
pub use crate::address::BadAddress;
pub(crate) use crate::address::{ChecksumList, Userinfo, add_checksum, file_name, parse_checksum, parse_url};
pub(crate) use downloads::{AskedDownload, BATCH, SettingsFile};
pub use downloads::{Control, Refused};
pub(crate) use events::object;
pub use events::{Events, Heard, Subscription};
pub(crate) use status::{COMPLETED_FOLDER, PeerCard, ServerCard};
pub use status::{Peers, PendingStub, Stubs, Troubles};
pub use tasks::End;
pub(crate) use torrents::{
    CLIENT_PREFIX, SharedStub, StubPlace, Torrent, TorrentError, below, fetch_stub, hash_of, make_below, own_stub,
};
