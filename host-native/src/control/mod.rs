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
mod control;
mod counters;
mod driving;
mod events;
mod object;
mod status;
mod stubs;
mod tasks;
mod troubles;

pub use accept::{Outcome, Wanted, accept};
pub use address::{BadAddress, Userinfo, file_name, parse_sha256, parse_url};
pub use control::{Control, Refused};
pub use counters::{Counted, Ended};
pub use events::{Events, Heard, Subscription};
pub use object::object;
pub(crate) use object::time;
pub use status::{PeerCard, PeerSeen, Peers};
pub use stubs::{PendingStub, Stubs};
pub use tasks::End;
pub use troubles::{Trouble, Troubles};
