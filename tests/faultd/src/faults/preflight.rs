//! A server that knows nothing of CORS preflights.

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::reply::Reply;
use crate::request::Request;
use crate::script::Version;

/// The preflight before this answer is refused with 403 and no CORS header: what a cross-origin If-Range
/// meets at many servers. The GET itself is not changed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RefusePreflight {}

impl RefusePreflight {
    /// OPTIONS is refused as long as this answer is the next.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for RefusePreflight {
    fn apply(&self, request: &Request, _: &Version, reply: &mut Reply) {
        if request.method == "OPTIONS" {
            reply.status = 403;
            reply.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("access-control-"));
            reply.set_header("Content-Length", "0");
        }
    }
}
