//! The union of all misbehaviours, as a script names them: `{"cut": {"after": 1000}}`.

use serde::{Deserialize, Serialize};

use super::{
    BadChunk, Chunked, Coding, ContentLength, ContentRange, ContentRangeOn200, Cut, Date, DropBeforeReply, EndlessHead,
    Etag, Flip, Headers, HugeHead, IgnoreIfRange, IgnoreRange, Interim, LastModified, Longer, Multipart, NoReply,
    NoValidators, OddHead, PartialUnasked, Pause, RangeNotSatisfiable, RangeShort, RangeStart, Redirect,
    RefusePreflight, RefuseRange, RemoveHeaders, Replace, ReprDigest, ResetBeforeReply, Stall, Status, Trickle,
    Unframed,
};
use crate::reply::Reply;
use crate::request::Request;
use crate::script::Version;

/// Something that spoils an answer.
pub trait Misbehave {
    /// Changes `reply`, which answers `request` for a file that is `version` now. What does not fit the
    /// reply (a shifted start on a 200) leaves it as it is.
    fn apply(&self, request: &Request, version: &Version, reply: &mut Reply);
}

/// Makes the union, and lets each struct stand for its variant.
macro_rules! faults {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// One misbehaviour. The faults of an answer are applied in order to the honest answer; those that
        /// choose another answer (`status`, `ignore_range`, `redirect`, …) belong first.
        #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
        #[serde(rename_all = "snake_case")]
        pub enum Fault {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $(#[$attribute])*
                $name($name),
            )*
        }

        impl Misbehave for Fault {
            fn apply(&self, request: &Request, version: &Version, reply: &mut Reply) {
                match self {
                    $(Fault::$name(fault) => fault.apply(request, version, reply),)*
                }
            }
        }

        $(
            impl From<$name> for Fault {
                fn from(fault: $name) -> Self {
                    Fault::$name(fault)
                }
            }
        )*
    };
}

faults! {
    BadChunk,
    Chunked,
    Coding,
    ContentLength,
    ContentRange,
    #[serde(rename = "content_range_on_200")]
    ContentRangeOn200,
    Cut,
    Date,
    DropBeforeReply,
    EndlessHead,
    Etag,
    Flip,
    Headers,
    HugeHead,
    IgnoreIfRange,
    IgnoreRange,
    Interim,
    LastModified,
    Longer,
    Multipart,
    NoReply,
    NoValidators,
    OddHead,
    PartialUnasked,
    Pause,
    RangeNotSatisfiable,
    RangeShort,
    RangeStart,
    Redirect,
    RefusePreflight,
    RefuseRange,
    RemoveHeaders,
    Replace,
    ReprDigest,
    ResetBeforeReply,
    Stall,
    Status,
    Trickle,
    Unframed,
}

impl Fault {
    /// The version that a [`Replace`] puts in place.
    pub fn replaced_version(&self) -> Option<usize> {
        match self {
            Fault::Replace(replace) => Some(replace.version),
            _ => None,
        }
    }
}
