//! The order in which downloads start.

use crate::mutex::{Mutex, lock};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

/// The drives that are on their way to the queue for permits. They join it in the order in which they were first polled, however
/// long each of them takes to get there, and so start in that order.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Drives>);

/// In order, each with its ticket and, if it waits, its waker.
#[derive(Debug, Default)]
struct Drives {
    tickets: u64,
    drives: VecDeque<(u64, Option<Waker>)>,
}

impl Line {
    pub(super) fn join(&self) -> Turn<'_> {
        let mut line = lock(&self.0);
        line.tickets = line.tickets.wrapping_add(1);
        let ticket = line.tickets;
        line.drives.push_back((ticket, None));
        Turn { line: self, ticket }
    }
}

/// A place in the line. Dropping it lets the next one pass.
pub(super) struct Turn<'a> {
    line: &'a Line,
    ticket: u64,
}

impl Turn<'_> {
    async fn comes(&self) {
        poll_fn(|context| {
            let mut line = lock(&self.line.0);
            let at = line.drives.iter().position(|(ticket, _)| *ticket == self.ticket);
            match at.and_then(|at| line.drives.get_mut(at)).filter(|_| at != Some(0)) {
                None => return Poll::Ready(()),
                Some((_, waker)) => *waker = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = lock(&self.line.0);
        let at = line.drives.iter().position(|(ticket, _)| *ticket == self.ticket);
        let left = at.and_then(|at| line.drives.remove(at));
        let next = line.drives.front_mut().and_then(|(_, waker)| waker.take());
        drop(line);
        // Dropping or waking a task may drop another turn: not within the lock.
        drop(left);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// Polls once in turn, so that `queue` joins its queue behind those of earlier turns.
pub(super) async fn in_turn<T>(turn: Option<Turn<'_>>, queue: impl Future<Output = T>) -> T {
    let mut queue = pin!(queue);
    if let Some(turn) = turn {
        turn.comes().await;
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(queue.as_mut().poll(context))).await {
            return done;
        }
    }
    queue.await
}
