//! What was asked and how the answer ended.

use std::collections::VecDeque;

use serde::Serialize;

use crate::request::Request;

/// How many entries are kept; the oldest go first.
const LIMIT: usize = 100_000;

/// One request and its answer.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number, from 0 since the start; never used twice.
    pub id: u64,
    /// Its connection, from 1; 0 if there is none.
    pub connection: u64,
    /// The method as sent.
    pub method: String,
    /// The target up to its query.
    pub path: String,
    /// The target as sent.
    pub target: String,
    /// The Range header.
    pub range: Option<String>,
    /// The If-Range header.
    pub if_range: Option<String>,
    /// Every header line as sent.
    pub headers: Vec<(String, String)>,
    /// The status of the answer; even if its head was withheld.
    pub status: u16,
    /// Payload bytes handed to the network so far.
    pub sent_bytes: u64,
    /// `true` if the peer went away before the answer was over.
    pub peer_closed: bool,
    /// `true` if the answer is over.
    pub finished: bool,
}

impl LogEntry {
    /// The first value of a request header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl Log {
    /// Records a request and the status of its answer; returns the number of the entry.
    pub(crate) fn add(&mut self, request: &Request, status: u16) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if self.entries.len() == LIMIT {
            self.entries.pop_front();
        }
        self.entries.push_back(LogEntry {
            id,
            connection: request.connection,
            method: request.method.clone(),
            path: request.path().to_owned(),
            target: request.target.clone(),
            range: request.header("Range").map(str::to_owned),
            if_range: request.header("If-Range").map(str::to_owned),
            headers: request.headers.clone(),
            status,
            sent_bytes: 0,
            peer_closed: false,
            finished: false,
        });
        id
    }

    /// The entry of that number, unless it was cleared or is too old.
    pub(crate) fn entry(&mut self, id: u64) -> Option<&mut LogEntry> {
        let first = self.entries.front()?.id;
        self.entries.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
    }

    /// A copy, oldest first.
    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        self.entries.iter().cloned().collect()
    }

    /// Forgets all entries; numbers go on, so that an answer under way cannot write into a new entry.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_under_way_does_not_write_into_an_entry_made_after_a_clear() {
        let mut log = Log::default();
        let old = log.add(&Request::get("/old"), 200);
        log.clear();
        let new = log.add(&Request::get("/new"), 200);
        assert!(log.entry(old).is_none());
        assert_eq!(log.entry(new).map(|entry| entry.path.clone()).as_deref(), Some("/new"));
    }

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest() {
        let mut log = Log::default();
        for _ in 0..LIMIT + 2 {
            log.add(&Request::get("/a"), 200);
        }
        assert_eq!(log.entries.len(), LIMIT);
        assert_eq!(log.entry(2).map(|entry| entry.id), Some(2));
        assert!(log.entry(1).is_none());
    }
}
