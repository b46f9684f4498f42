//! Holds what happened against what was expected.
//!
//! Beside what a scenario says, some things hold for all of them: no file is of two versions, no wait is longer than it may
//! be, the ledger says what the events say, every call has one last word, and nothing stays held.

use crate::outcome::Outcome;
use crate::scenario::{Asked, ClassName, Discarded, End, Kept, Scenario, There};
use regrip_core::record::RestartReason;
use regrip_core::retry::AskedBy;
use regrip_core::{Class, DownloadsConfig, ErrorCode, What};
use regrip_faultd::LogEntry;
use std::fmt::Debug;
use std::time::Duration;

/// Compares. The message has a line for every difference.
///
/// # Errors
/// Something is not as expected.
pub fn judge(scenario: &Scenario, outcome: &Outcome) -> Result<(), String> {
    let mut differences = Differences::default();
    if scenario.expect.end == End::Refused || outcome.refused.is_some() {
        let key = scenario.expect.key.as_deref();
        differences.compare("the refused key", outcome.refused, key);
        return differences.told(scenario, outcome);
    }
    let config = scenario.config()?;
    differences.end(scenario, outcome);
    differences.bytes(scenario, outcome);
    differences.asked(scenario, outcome);
    differences.events(scenario, outcome);
    differences.waits(scenario, outcome, &config);
    differences.row(outcome);
    for leak in &outcome.leaks {
        differences.add(format!("still held: {leak}"));
    }
    differences.told(scenario, outcome)
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn add(&mut self, line: String) {
        self.0.push(line);
    }

    fn compare<T: PartialEq + Debug>(&mut self, what: &str, got: T, expected: T) {
        if got != expected {
            self.add(format!("{what}: {got:?}, expected {expected:?}"));
        }
    }

    fn end(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let expect = &scenario.expect;
        let Some((end, summary)) = outcome.last_word() else {
            self.add("there was no last word".to_owned());
            return;
        };
        self.compare("the end", end, expect.end.name());
        let code = summary.code.as_ref().map(ErrorCode::as_str);
        self.compare("the code", code, expect.code.as_deref());
        self.compare("what the call returned", outcome.returned.as_ref(), summary.code.as_ref());
        let class = expect.code.as_ref().map(|_| Class::from(expect.class.unwrap_or(ClassName::Permanent)));
        self.compare("the class", summary.class, class);
        self.compare("the attempts", summary.attempts, expect.attempts);
        if let Some(error) = &summary.error
            && expect.code.as_deref() != code
        {
            self.add(format!("the error: {error}"));
        }
    }

    fn bytes(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let before = match &scenario.before.destination {
            Some(There::Text(text)) => Some(text.clone().into_bytes()),
            Some(There::Bytes(bytes)) => bytes.of(&scenario.peer),
            Some(There::Odd { .. }) | None => None,
        };
        let expected = scenario.expect.file.map_or(before, |file| scenario.version(file));
        if outcome.file != expected {
            let name = |bytes: &Option<Vec<u8>>| name_bytes(scenario, bytes.as_deref());
            let (got, expected) = (name(&outcome.file), name(&expected));
            self.add(format!("the file is {got}, expected {expected}"));
        }
        let part = outcome.part.as_deref();
        let described = name_bytes(scenario, part);
        let of_one = part.is_none_or(|part| version_of(scenario, part).is_some());
        let fits = match &scenario.expect.part {
            None if scenario.expect.file.is_some() => part.is_none(),
            None => of_one,
            Some(None) => part.is_none(),
            // A host need not keep an empty part.
            Some(Some(Kept::First(bytes))) => of_one && length(part).unwrap_or(0) == *bytes,
            Some(Some(Kept::Any { any })) => length(part) == Some(*any),
            Some(Some(Kept::Text(text))) => part == Some(text.as_bytes()),
        };
        if !fits {
            let expected = &scenario.expect.part;
            self.add(format!("the part is {described}, expected {expected:?}"));
        }
    }

    fn asked(&mut self, scenario: &Scenario, outcome: &Outcome) {
        if let Some(expected) = &scenario.expect.requests {
            self.log("the peer", &outcome.requests, expected);
        }
        self.log("the other origin", &outcome.elsewhere, &scenario.expect.elsewhere);
    }

    fn log(&mut self, whom: &str, got: &[LogEntry], expected: &[Asked]) {
        let line = |target: &str, range: &Option<String>, if_range: &Option<String>| {
            format!("{target} {range:?} {if_range:?}")
        };
        let got_lines = got.iter();
        let got_lines: Vec<_> = got_lines.map(|entry| line(&entry.target, &entry.range, &entry.if_range)).collect();
        let expected_lines = expected.iter();
        let expected_lines: Vec<_> =
            expected_lines.map(|asked| line(&asked.target, &asked.range, &asked.if_range)).collect();
        self.compare(&format!("asked of {whom}"), got_lines, expected_lines);
        for (entry, asked) in got.iter().zip(expected) {
            for (name, value) in &asked.headers {
                let what = format!("{name}, as {whom} got it at {}", entry.target);
                self.compare(&what, entry.header(name), value.as_deref());
            }
        }
    }

    fn events(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let restarts: Vec<(RestartReason, u64)> = outcome
            .events
            .iter()
            .filter_map(|what| match what {
                What::Restart { reason, discarded_bytes } => Some((*reason, *discarded_bytes)),
                _ => None,
            })
            .collect();
        let expected = &scenario.expect.restarts;
        let fits = |((got, bytes), (reason, discarded)): (&(RestartReason, u64), &(RestartReason, Discarded))| {
            got == reason && discarded.fits(*bytes)
        };
        if restarts.len() != expected.len() || !restarts.iter().zip(expected).all(fits) {
            self.add(format!("the restarts: {restarts:?}, expected {expected:?}"));
        }
        let last_size = outcome.events.iter().rev().find_map(|what| match what {
            What::Headers { expected_bytes, source, mismatch } => Some((*expected_bytes, *source, *mismatch)),
            _ => None,
        });
        if scenario.expect.size.is_some() {
            self.compare("the size", last_size, scenario.expect.size);
        }
        let story: Vec<_> = outcome.events.iter().map(What::name).collect();
        if let Some(expected) = &scenario.expect.events {
            let mut told = story.clone();
            told.retain(|name| *name != "progress");
            self.compare("the events", told.join(" "), expected.join(" "));
        }
        let last_words = story.iter().filter(|name| is_last_word(name)).count();
        self.compare("the last words", last_words, scenario.calls as usize);
        let ends_so = story.last().is_some_and(is_last_word);
        self.compare("the last event is a last word", ends_so, true);
        let started = story.iter().filter(|name| **name == "started").count();
        self.compare("the starts", started, scenario.expect.attempts as usize);
    }

    fn waits(&mut self, scenario: &Scenario, outcome: &Outcome, config: &DownloadsConfig) {
        let waits: Vec<(u32, Duration, AskedBy)> = outcome
            .events
            .iter()
            .filter_map(|what| match what {
                What::Retrying { attempt, delay, asked_by, .. } => Some((*attempt, *delay, *asked_by)),
                _ => None,
            })
            .collect();
        for (attempt, delay, asked_by) in &waits {
            let longest = longest_wait(config, *attempt, *asked_by);
            if *delay > longest {
                self.add(format!("waited {delay:?} after attempt {attempt}, more than {longest:?}"));
            }
        }
        let Some(expected) = &scenario.expect.delays else {
            return;
        };
        let got: Vec<_> = waits.iter().map(|(_, delay, asked_by)| (delay.as_millis() as u64, *asked_by)).collect();
        let fits = |((got, by), (expected, expected_by)): (&(u64, AskedBy), &(Option<u64>, AskedBy))| {
            by == expected_by && expected.is_none_or(|expected| expected == *got)
        };
        if got.len() != expected.len() || !got.iter().zip(expected).all(fits) {
            self.add(format!("the waits: {got:?}, expected {expected:?}"));
        }
    }

    /// The ledger says what the events say.
    fn row(&mut self, outcome: &Outcome) {
        let Some(row) = &outcome.row else {
            self.add("there is no row".to_owned());
            return;
        };
        let Some((end, summary)) = outcome.last_word() else {
            return;
        };
        self.compare("the row's status", row.status.name(), end);
        self.compare("the row's attempts", row.attempts, summary.attempts);
        self.compare("the row's restarts", row.restarts, summary.restarts);
        self.compare("the row's bytes", row.downloaded, summary.bytes);
        self.compare("the row's digest", &row.checksums(), &summary.digests);
        if end == "failed" {
            let code = row.failure.as_ref().map(|failure| &failure.code);
            self.compare("the row's error", code, summary.code.as_ref());
        }
        let restarts = outcome.events.iter().filter(|what| what.name() == "restart");
        self.compare("the restarts told", restarts.count(), row.restarts as usize);
        if let (Some(part), "failed" | "cancelled") = (&outcome.part, end)
            && row.claimed
        {
            self.compare("the row's bytes are the part's", row.downloaded, part.len() as u64);
        }
    }

    fn told(self, scenario: &Scenario, outcome: &Outcome) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Scenario { id, name, .. } = scenario;
        let differences = self.0.join("\n  ");
        let story: Vec<_> = outcome.events.iter().map(What::name).collect();
        Err(format!("{id} {name}:\n  {differences}\n  the story: {}", story.join(" ")))
    }
}

fn is_last_word(name: &&str) -> bool {
    matches!(*name, "completed" | "failed" | "cancelled")
}

fn longest_wait(config: &DownloadsConfig, attempt: u32, asked_by: AskedBy) -> Duration {
    let most = Duration::from_millis(config.retry_max_delay_ms);
    match asked_by {
        AskedBy::RetryAfter => most,
        AskedBy::Jitter => {
            let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
            let base = Duration::from_millis(config.retry_base_delay_ms);
            base.saturating_mul(doubled).min(most)
        }
    }
}

fn length(bytes: Option<&[u8]>) -> Option<u64> {
    bytes.map(|bytes| bytes.len() as u64)
}

/// The version whose first bytes these are; an empty part is of any.
fn version_of(scenario: &Scenario, bytes: &[u8]) -> Option<usize> {
    let versions = scenario.peer.versions.iter();
    let contents = versions.map(|version| version.content());
    contents
        .enumerate()
        .find(|(_, content)| bytes.len() as u64 <= content.size && content.bytes(0..bytes.len() as u64) == bytes)
        .map(|(index, _)| index)
}

fn name_bytes(scenario: &Scenario, bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "not there".to_owned();
    };
    let length = bytes.len();
    match version_of(scenario, bytes) {
        Some(version) => format!("the first {length} bytes of version {version}"),
        None => format!("{length} bytes of no version"),
    }
}
