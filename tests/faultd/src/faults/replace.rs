//! The file changes between two requests.

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::reply::Reply;
use crate::request::Request;
use crate::script::Version;

/// From this request on the file is another version (H15, H18, H19).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// Which of the file's versions, from 0.
    pub version: usize,
}

impl Replace {
    /// From this request on the file is that version, from 0.
    pub fn with(version: usize) -> Fault {
        Self { version }.into()
    }
}

impl Misbehave for Replace {
    /// Nothing is left to do: the site changes the version before it makes the honest answer.
    fn apply(&self, _: &Request, _: &Version, _: &mut Reply) {}
}
