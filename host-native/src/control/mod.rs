//! What can be asked of running downloads, whoever asks: the API, the watch folder, the start of the server.
//!
//! Begin with [`Control`]. It owns no policy of its own: the core's engine decides, the ledger remembers. [`Events`] is the
//! host's listener: it counts, and tells whoever subscribed. [`Stubs`], [`Peers`] and [`Troubles`] are boards: the watch
//! folder, the peers' clients and whoever meets trouble write on them, the API reads them.
//!
//! Invariants: a download has one drive at a time; who asked for another one meanwhile gets it once the first has ended,
//! if there is something left to do. A subscriber that is slow loses events, and is told so; it never holds up a download.

mod accept;
mod address;
mod downloads;
mod events;
mod status;
mod tasks;

pub use accept::{Outcome, Wanted, accept};
pub use address::{BadAddress, Userinfo, file_name, parse_sha256, parse_url};
pub use downloads::{Control, Refused};
pub use events::{Counted, Ended, Events, Heard, Subscription, object};
pub use status::{PeerCard, PeerSeen, Peers, PendingStub, Stubs, Trouble, Troubles};
pub use tasks::End;
