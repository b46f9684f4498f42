//! The result of a scenario, in terms that every host has.

use regrip_core::ErrorCode;
use regrip_core::{Row, Summary, What};
use regrip_faultd::LogEntry;

/// The result of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// The configuration key that was refused; then nothing else happened.
    pub refused: Option<&'static str>,
    /// Every event, in order.
    pub events: Vec<What>,
    /// What the last call returned: nothing, or an error's code.
    pub returned: Option<ErrorCode>,
    /// What was asked of the peer, in order.
    pub requests: Vec<LogEntry>,
    /// What was asked of the other origin, in order.
    pub elsewhere: Vec<LogEntry>,
    /// The bytes at the destination, if a file exists.
    pub file: Option<Vec<u8>>,
    /// The bytes of the part, if there is one.
    pub part: Option<Vec<u8>>,
    /// The row.
    pub row: Option<Row>,
    /// What is still held though nothing runs any more, one line each.
    pub leaks: Vec<String>,
}

impl Outcome {
    /// Nothing ran, because the configuration was refused.
    pub(crate) fn refused(key: &'static str) -> Self {
        Outcome {
            refused: Some(key),
            events: Vec::new(),
            returned: None,
            requests: Vec::new(),
            elsewhere: Vec::new(),
            file: None,
            part: None,
            row: None,
            leaks: Vec::new(),
        }
    }

    /// The last event: its summary and its name.
    pub(crate) fn last_word(&self) -> Option<(&'static str, &Summary)> {
        let summary = |what: &'static str, of| Some((what, of));
        self.events.iter().rev().find_map(|what| match what {
            What::Completed(of) | What::Failed(of) | What::Cancelled(of) => summary(what.name(), of),
            _ => None,
        })
    }
}
