//! Progress bars on a terminal: a line for each file that is under way, finished ones scroll up.

use super::{Reporter, lines};
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::host::Listener;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use regrip_core::{DownloadId, Error, Event, Row, What};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Draws bars on standard error.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<DownloadId, ProgressBar>>,
}

const KNOWN: &str =
    "{prefix:28!} {wide_bar} {percent:>3}% {bytes:>10} {bytes_per_sec:>12} {eta:>4} {msg}";
const UNKNOWN: &str = "{prefix:28!} {spinner} {bytes:>10} {bytes_per_sec:>12} {msg}";
const WAITING: &str = "{prefix:28!} {spinner} {wide_msg}";

impl Bars {
    fn bars(&self) -> MutexGuard<'_, HashMap<DownloadId, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, event: &Event<'_>) -> ProgressBar {
        let mut bars = self.bars();
        let new = || {
            let bar = self
                .all
                .add(ProgressBar::no_length().with_style(style(UNKNOWN)));
            bar.set_prefix(lines::name(event.path));
            bar
        };
        bars.entry(event.id).or_insert_with(new).clone()
    }

    fn last_line(&self, event: &Event<'_>) {
        if let Some(bar) = self.bars().remove(&event.id) {
            bar.finish_and_clear();
        }
        self.line(event);
    }

    fn line(&self, event: &Event<'_>) {
        if let Some(line) = lines::line(event) {
            let _ = self.all.println(line);
        }
    }
}

impl Listener for Bars {
    fn hear(&self, event: &Event<'_>) {
        match &event.what {
            What::Queued => {}
            What::Started { attempt, from } => {
                let bar = self.bar(event);
                bar.set_position(*from);
                bar.reset_eta();
                bar.set_message(if *attempt > 1 {
                    format!("attempt {attempt}")
                } else {
                    String::new()
                });
            }
            What::Headers { expected_bytes, .. } => {
                let bar = self.bar(event);
                bar.disable_steady_tick();
                match expected_bytes {
                    Some(bytes) => {
                        bar.set_length(*bytes);
                        bar.set_style(style(KNOWN));
                    }
                    None => bar.set_style(style(UNKNOWN)),
                }
            }
            What::Progress { bytes, .. } => self.bar(event).set_position(*bytes),
            What::Restart { .. } => {
                self.line(event);
                let bar = self.bar(event);
                bar.set_position(0);
                bar.reset_eta();
            }
            What::Retrying {
                delay,
                asked_by,
                error,
                ..
            } => {
                self.wait(event, lines::retrying(*delay, *asked_by, error));
            }
            What::Waiting { why, .. } => self.wait(event, format!("waiting: {why}")),
            What::Completed(_) | What::Failed(_) | What::Cancelled(_) => self.last_line(event),
        }
    }
}

impl Bars {
    fn wait(&self, event: &Event<'_>, why: String) {
        let bar = self.bar(event);
        bar.set_style(style(WAITING));
        bar.set_message(why);
        bar.enable_steady_tick(Duration::from_millis(200));
    }
}

impl Reporter for Bars {
    fn was_done(&self, row: &Row) {
        let _ = self.all.println(lines::was_done(row));
    }
    fn refused(&self, target: &Target, error: &Error) {
        let _ = self.all.println(lines::refused(target, error));
    }
    fn end(&self, exit: Exit) {
        let _ = self.all.clear();
        if exit == Exit::Interrupted {
            eprintln!("{}", lines::INTERRUPTED);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let plain = ProgressStyle::default_bar();
    plain
        .template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}
