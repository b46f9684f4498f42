//! Parsers of the header fields that decide whether bytes belong to the same version.

mod content_range;
mod date;
mod digest;
mod disposition;
mod framing;
mod head;
mod retry_after;
mod validator;

pub use content_range::{ContentRange, content_range};
pub use date::parse_date;
pub use digest::repr_digests;
pub use disposition::suggested_name;
pub use framing::body_end;
pub use head::Head;
pub use retry_after::parse_retry_after;
pub use validator::{is_strong_etag, is_strong_last_modified, validators};
