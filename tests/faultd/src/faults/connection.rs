//! Requests that are read and not answered.

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::reply::{End, Head, Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The request is read and never answered (H37; the headers timeout).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NoReply {}

impl NoReply {
    /// Never answers.
    pub fn ever() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for NoReply {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        withhold(reply, vec![Op::Forever], End::Close);
    }
}

/// The connection is closed without a byte of an answer (H36).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct DropBeforeReply {}

impl DropBeforeReply {
    /// Closes instead of an answer.
    pub fn now() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for DropBeforeReply {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        withhold(reply, vec![Op::Cut], End::Close);
    }
}

/// The connection is reset without a byte of an answer (H36).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ResetBeforeReply {}

impl ResetBeforeReply {
    /// Resets instead of an answer.
    pub fn now() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for ResetBeforeReply {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        withhold(reply, vec![Op::Cut], End::Reset);
    }
}

fn withhold(reply: &mut Reply, body: Vec<Op>, end: End) {
    reply.interim.clear();
    reply.head = Head::Withheld;
    reply.body = body;
    reply.end = end;
}

#[cfg(test)]
mod tests {
    use super::super::testing::spoil;
    use super::*;

    #[test]
    fn an_unanswered_request_gets_no_byte_of_a_head() {
        let table = [
            (NoReply::ever(), Op::Forever, End::Close),
            (DropBeforeReply::now(), Op::Cut, End::Close),
            (ResetBeforeReply::now(), Op::Cut, End::Reset),
        ];
        for (fault, op, end) in table {
            let reply = spoil(std::slice::from_ref(&fault), &Request::get("/a"));
            assert_eq!((reply.head, reply.body, reply.end), (Head::Withheld, vec![op], end), "{fault:?}");
        }
    }
}
