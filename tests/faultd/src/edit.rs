//! Cutting a body at a payload offset: the one operation that most body faults are made of.

use crate::reply::{Op, Reply};

/// Divides operations so that the first list sends exactly the first `at` payload bytes, or all of them
/// if there are fewer. Operations without payload that stand at the cut go to the second list.
pub(crate) fn split(ops: Vec<Op>, at: u64) -> (Vec<Op>, Vec<Op>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut left = at;
    for op in ops {
        let len = op.payload_len();
        if left == 0 {
            after.push(op);
        } else if len <= left {
            left -= len;
            before.push(op);
        } else {
            let (first, second) = divide(op, left);
            before.push(first);
            after.push(second);
            left = 0;
        }
    }
    (before, after)
}

/// Divides one operation that has more than `at` payload bytes.
fn divide(op: Op, at: u64) -> (Op, Op) {
    match op {
        Op::Content { content, from, to } => {
            let middle = from + at;
            (Op::Content { content, from, to: middle }, Op::Content { content, from: middle, to })
        }
        Op::Trickle { content, from, to, every, bytes } => {
            let middle = from + at;
            let first = Op::Trickle { content, from, to: middle, every, bytes };
            (first, Op::Trickle { content, from: middle, to, every, bytes })
        }
        Op::Raw(mut payload) => {
            let rest = payload.split_off(at as usize);
            (Op::Raw(payload), Op::Raw(rest))
        }
        // They have no payload, so nothing divides them.
        op @ (Op::Wire(_) | Op::Wait(_) | Op::Forever | Op::Cut) => (op, Op::Raw(Vec::new())),
    }
}

/// Puts an operation after the first `at` payload bytes of a reply.
pub(crate) fn insert(reply: &mut Reply, at: u64, op: Op) {
    let (mut body, rest) = split(std::mem::take(&mut reply.body), at);
    body.push(op);
    body.extend(rest);
    reply.body = body;
}

/// The first `most` payload bytes that operations send.
pub(crate) fn payload(ops: Vec<Op>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for op in split(ops, most).0 {
        match op {
            Op::Content { content, from, to } | Op::Trickle { content, from, to, .. } => {
                bytes.extend(content.bytes(from..to))
            }
            Op::Raw(raw) => bytes.extend(raw),
            Op::Wire(_) | Op::Wait(_) | Op::Forever | Op::Cut => {}
        }
    }
    bytes
}

/// Puts an operation after the first `at` payload bytes of a reply, in place of all that follows.
pub(crate) fn end_with(reply: &mut Reply, at: u64, op: Op) {
    let (mut body, _) = split(std::mem::take(&mut reply.body), at);
    body.push(op);
    reply.body = body;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use std::time::Duration;

    fn bytes(ops: &[Op]) -> Vec<u8> {
        let mut out = Vec::new();
        for op in ops {
            match op {
                Op::Content { content, from, to } | Op::Trickle { content, from, to, .. } => {
                    out.extend(content.bytes(*from..*to));
                }
                Op::Raw(raw) => out.extend(raw),
                Op::Wire(_) | Op::Wait(_) | Op::Forever | Op::Cut => {}
            }
        }
        out
    }

    #[test]
    fn a_body_divided_anywhere_is_still_the_same_bytes() {
        let content = Content::new(1, 20);
        let every = Duration::from_millis(1);
        let ops = vec![
            Op::Content { content, from: 3, to: 8 },
            Op::Wait(every),
            Op::Raw(vec![1, 2, 3]),
            Op::Trickle { content, from: 10, to: 15, every, bytes: 2 },
        ];
        let whole = bytes(&ops);
        for at in 0..=14u64 {
            let (before, after) = split(ops.clone(), at);
            assert_eq!(bytes(&before).len() as u64, at.min(13), "{at}");
            assert_eq!([bytes(&before), bytes(&after)].concat(), whole, "{at}");
        }
    }
}
