//! Bodies that stop, stall, drip or lie. Offsets count the payload bytes of this answer, from 0.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::edit;
use crate::reply::{End, Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The connection ends after `after` bytes of the body; the headers still promise all of it (H23, H36, and
/// H25 on a chunked answer, which then lacks its last chunk).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// How many payload bytes are sent.
    pub after: u64,
    /// How the connection ends.
    #[serde(default)]
    pub how: CutHow,
}

/// How a cut connection ends.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CutHow {
    /// In order (FIN).
    #[default]
    Close,
    /// By a reset (RST); the peer may see fewer bytes than were sent.
    Reset,
}

impl Cut {
    /// Closes after that many payload bytes.
    pub fn after(after: u64) -> Fault {
        Self { after, how: CutHow::Close }.into()
    }

    /// Resets after that many payload bytes.
    pub fn reset_after(after: u64) -> Fault {
        Self { after, how: CutHow::Reset }.into()
    }
}

impl Misbehave for Cut {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        edit::end_with(reply, self.after, Op::Cut);
        reply.end = match self.how {
            CutHow::Close => End::Close,
            CutHow::Reset => End::Reset,
        };
    }
}

/// After `after` bytes nothing more comes, for ever (H37).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// How many payload bytes are sent.
    pub after: u64,
}

impl Stall {
    /// Stalls after that many payload bytes.
    pub fn after(after: u64) -> Fault {
        Self { after }.into()
    }
}

impl Misbehave for Stall {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        edit::end_with(reply, self.after, Op::Forever);
        reply.end = End::Close;
    }
}

/// After `after` bytes nothing comes for `ms` milliseconds, then the rest (the honest side of H37).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// How many payload bytes are sent first.
    pub after: u64,
    /// How long the pause is, in milliseconds.
    pub ms: u64,
}

impl Pause {
    /// Pauses after that many payload bytes for that many milliseconds.
    pub fn after(after: u64, ms: u64) -> Fault {
        Self { after, ms }.into()
    }
}

impl Misbehave for Pause {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        edit::insert(reply, self.after, Op::Wait(Duration::from_millis(self.ms)));
    }
}

/// The body comes in pieces of `bytes`, each after `every_ms` milliseconds: too slow, but never idle (H37).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Trickle {
    /// The wait before each piece, in milliseconds.
    pub every_ms: u64,
    /// The size of a piece; 0 counts as 1.
    pub bytes: usize,
}

impl Trickle {
    /// Sends that many bytes every so many milliseconds.
    pub fn every(every_ms: u64, bytes: usize) -> Fault {
        Self { every_ms, bytes }.into()
    }
}

impl Misbehave for Trickle {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let every = Duration::from_millis(self.every_ms);
        let bytes = self.bytes.max(1);
        for op in &mut reply.body {
            if let Op::Content { content, from, to } = *op {
                *op = Op::Trickle { content, from, to, every, bytes };
            }
        }
    }
}

/// One payload byte is the complement of what it should be: for overlap comparison and digest (H16, H19).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// Which payload byte of this answer, from 0.
    pub at: u64,
}

impl Flip {
    /// Flips that payload byte of this answer.
    pub fn at(at: u64) -> Fault {
        Self { at }.into()
    }
}

impl Misbehave for Flip {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let (mut body, rest) = edit::split(std::mem::take(&mut reply.body), self.at);
        let (target, rest) = edit::split(rest, 1);
        body.extend(target.into_iter().map(flipped));
        body.extend(rest);
        reply.body = body;
    }
}

/// The same operation with its payload, at most one byte, complemented.
fn flipped(op: Op) -> Op {
    match op {
        Op::Content { content, from, to } | Op::Trickle { content, from, to, .. } => {
            Op::Raw(content.bytes(from..to).into_iter().map(|byte| !byte).collect())
        }
        Op::Raw(bytes) => Op::Raw(bytes.into_iter().map(|byte| !byte).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{payload, spoil, version};
    use super::*;
    use crate::faults::Chunked;

    fn whole() -> Vec<u8> {
        version().content().bytes(0..100)
    }

    #[test]
    fn a_cut_sends_so_many_bytes_and_still_promises_all() {
        let reply = spoil(&[Cut::after(30)], &Request::get("/a"));
        assert_eq!(payload(&reply), whole()[..30]);
        assert_eq!((reply.body.last(), reply.end), (Some(&Op::Cut), End::Close));
        assert_eq!(reply.header("Content-Length"), Some("100"));
        assert_eq!(spoil(&[Cut::reset_after(30)], &Request::get("/a")).end, End::Reset);
    }

    #[test]
    fn a_cut_beyond_the_end_closes_after_the_whole_body() {
        let reply = spoil(&[Chunked::plain(), Cut::after(1000)], &Request::get("/a"));
        assert_eq!((payload(&reply), reply.body.last()), (whole(), Some(&Op::Cut)));
    }

    #[test]
    fn a_stall_never_reaches_the_rest() {
        let reply = spoil(&[Stall::after(30)], &Request::get("/a"));
        assert_eq!((payload(&reply).len(), reply.body.last()), (30, Some(&Op::Forever)));
    }

    #[test]
    fn a_pause_leaves_the_bytes_as_they_are() {
        let reply = spoil(&[Pause::after(30, 5)], &Request::get("/a"));
        assert_eq!((payload(&reply), &reply.body[1]), (whole(), &Op::Wait(Duration::from_millis(5))));
        assert_eq!(reply.body[0].payload_len(), 30);
    }

    #[test]
    fn a_trickle_is_the_same_bytes_in_pieces() {
        let reply = spoil(&[Trickle::every(7, 0)], &Request::get("/a"));
        assert_eq!(payload(&reply), whole());
        assert!(matches!(reply.body[..], [Op::Trickle { every, bytes: 1, .. }] if every == Duration::from_millis(7)));
    }

    #[test]
    fn a_flip_changes_one_byte_of_this_answer() {
        let request = Request::get("/a").with("Range", "bytes=10-");
        let got = payload(&spoil(&[Flip::at(5)], &request));
        let changed: Vec<usize> = (0..90).filter(|&i| got[i] != whole()[10 + i]).collect();
        assert_eq!((got.len(), changed), (90, vec![5]));
        assert_eq!(payload(&spoil(&[Flip::at(90)], &request)), whole()[10..]);
    }
}
