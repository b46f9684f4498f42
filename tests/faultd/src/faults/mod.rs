//! The misbehaviours, one struct each. Cases (`H09` and the like) are those of `tests/CASES.md`.

mod body;
mod connection;
mod fault;
mod headers;
mod length;
mod preflight;
mod range;
mod replace;
mod status;
#[cfg(test)]
mod testing;
mod validators;

pub use body::{Cut, CutHow, Flip, Pause, Stall, Trickle};
pub use connection::{DropBeforeReply, NoReply, ResetBeforeReply};
pub use fault::{Fault, Misbehave};
pub use headers::{Coding, EndlessHead, Headers, HugeHead, Interim, OddHead, RemoveHeaders};
pub use length::{BadChunk, BadChunkKind, Chunked, ContentLength, Longer, Unframed};
pub use preflight::RefusePreflight;
pub use range::{
    ContentRange, ContentRangeOn200, IgnoreIfRange, IgnoreRange, Multipart, PartialUnasked, RangeNotSatisfiable,
    RangeShort, RangeStart,
};
pub use replace::Replace;
pub use status::{OneOrMany, Redirect, RefuseRange, Status};
pub use validators::{Date, Etag, LastModified, NoValidators, ReprDigest};
