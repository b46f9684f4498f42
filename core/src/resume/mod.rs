//! What to ask for, and what the response is worth.
//!
//! Pure functions: [`usable`] says how many of the part's bytes count, [`plan`] what to request, [`verdict`] what to do with
//! the response. Together they keep the promise that bytes of two versions are never mixed in one file: a byte is appended
//! only after the server proved, by a strong validator or by the bytes themselves, that it belongs to the ones before it.
//! They follow RFC 9110 §13.1.5, §14 and §15.3.7.
//!
//! They work with any HTTP client: the caller sends the request and reads the body. The parsers of the fields are in
//! [`http`](crate::http). A body that goes on after a cut, over reqwest, is `examples/resumable-body` in the repository.
//!
//! ```
//! use regrip_core::http::{Head, body_end};
//! use regrip_core::record::Validators;
//! use regrip_core::resume::{Held, Plan, Verdict, plan, verdict};
//! use regrip_core::store::StoreRules;
//! use regrip_core::transport::{Headers, RequestRules};
//! use std::time::SystemTime;
//!
//! // 700 of 1000 bytes of the version "v1" are on disk.
//! let validators = Validators { etag: Some("\"v1\"".into()), ..Validators::default() };
//! let held = Held::new(700, Some(1000), &validators);
//! let Plan::Ranged(ask) = plan(held, 65536, RequestRules::FREE, StoreRules::FILE) else { panic!() };
//! // Range: bytes=700-, If-Range: "v1"
//! assert_eq!((ask.first, ask.if_range.as_ref().map(|value| value.value())), (700, Some("\"v1\"")));
//!
//! let respond = |etag| {
//!     let fields = [("content-range", "bytes 700-999/1000"), ("content-length", "300"), ("etag", etag)];
//!     let headers: Headers = fields.into_iter().collect();
//!     Head::read(206, &headers, body_end(&headers), SystemTime::UNIX_EPOCH)
//! };
//! assert!(matches!(verdict(&ask, held, &respond("\"v1\"")), Verdict::Append { end: 1000, .. }));
//! assert!(matches!(verdict(&ask, held, &respond("\"v2\"")), Verdict::AskWhole { .. }));
//! ```
//!
//! # When not to use it
//!
//! - If a file on disk is all that is wanted: the crate `regrip` does it in one call.
//! - For storage that verifies every piece by a digest of its own (OCI layers, Git LFS, torrents): fetch and check the
//!   pieces; no validator says as much.
//! - For responses to POST, or of a URL that generates its content anew each time: no two of them are one version.
//! - If the client decodes content codings on the way: offsets count coded bytes. Turn that off.
//!
//! # The rules
//!
//! N is the number of the part's bytes that count, S the first byte asked for.
//!
//! | situation | request |
//! |---|---|
//! | N = 0 | plain GET |
//! | N > known size, which a transfer gave | discard (`part_oversize`), then plain GET |
//! | N = known size, which a transfer gave | none: finish |
//! | N ≥ a size that only the release gave | none if a digest matches; else as "neither", from N − 1 − overlap |
//! | a strong ETag | from N, If-Range with the ETag |
//! | a strong ETag, and the source ignores If-Range | from N; the response must have the identical ETag |
//! | no ETag, a strong Last-Modified | from S = N − overlap, If-Range with the date; compare S..N |
//! | neither, or a weak ETag, or If-Range cannot be sent | from S, and compare S..N |
//! | the same, but S..N is one repeated byte | S moves back, 16 MiB at most; then plain GET, compared |
//! | the same, with an overlap of 0 | plain GET, compared |
//! | the source refuses ranges | plain GET, compared |
//!
//! | response to a range | action |
//! |---|---|
//! | 206 that fits: first byte, size, ETag, Last-Modified | append, after the comparison |
//! | 206 that does not fit; 200 with a Content-Range | plain GET, compared (`content_range_mismatch`, `validator_changed`) |
//! | a comparison of S..N that fails | plain GET, compared (`overlap_mismatch`) |
//! | 200 with the held strong ETag, to an If-Range | the range again without If-Range |
//! | any other 200 | compare it (`validator_changed`, `range_ignored`) |
//! | 416 `*/N` of the same version | complete |
//! | any other 416; 400, 403, 405, 501 | plain GET, compared (`range_not_satisfiable`, `range_refused`) |
//! | any other status | by its class; the part is untouched |
//!
//! To compare a full response means: nothing is written while it equals the part. At the first difference the part is cut
//! there, and the rest of the response is appended. So the file is always one response, byte for byte, and nothing that the
//! source still has is discarded. A full response that is smaller than the part is believed only the second time, and a
//! page in place of the file never; see [`full_response`].
//!
//! A store that cannot read back resumes by a strong validator only. What it has is discarded when the whole file arrives in
//! its place, not before. One that cannot be cut either ends the download then (`NotResumable`).

mod coding;
mod full;
mod plan;
mod verdict;

pub use coding::stored_as_sent;
pub use full::{Full, full_response, is_odd_page};
pub(crate) use plan::is_unproven;
pub use plan::{Ask, Held, IfRange, Plan, Usable, plan, usable};
pub use verdict::{Verdict, verdict, verdict_on_plain};
pub(crate) use verdict::{is_held_version, states_the_same};
