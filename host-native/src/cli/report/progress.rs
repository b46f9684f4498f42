//! Progress bars on a terminal: a line for each file that is under way, finished ones scroll up.
//!
//! indicatif draws; what a line says is [`bar`](super::bar)'s. Events only change what is known; a thread redraws all lines
//! a few times a second, so that countdowns run, a speed falls while nothing comes, and a resized terminal is filled.

use super::bar::{self, Phase, View};
use super::journey::Journeys;
use super::{Reporter, WasDone, draw_target, plain};
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::cli::output::Look;
use crate::cli::text;
use crate::host::Listener;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use regrip_core::{DownloadId, Error, Event, Row, What};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

/// Between two drawings.
const TICK: Duration = Duration::from_millis(200);
/// Where the terminal does not tell.
const COLUMNS: usize = 80;

/// Draws bars on standard error.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug)]
struct Files {
    journeys: Journeys,
    bars: BTreeMap<DownloadId, Bar>,
    /// Accepted, and not started yet.
    queued: BTreeSet<DownloadId>,
    /// How many those are: below the bars.
    footer: Option<ProgressBar>,
    /// Of the longest name so far.
    name: usize,
}

/// A file under way.
#[derive(Debug)]
struct Bar {
    drawn: ProgressBar,
    name: String,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    until: Instant,
    why: String,
}

impl Bars {
    /// Starts the thread that draws.
    pub(crate) fn new() -> Self {
        let files = Arc::new(Mutex::new(Files {
            journeys: Journeys::begin(Instant::now()),
            bars: BTreeMap::new(),
            queued: BTreeSet::new(),
            footer: None,
            name: 0,
        }));
        let drawn = Arc::downgrade(&files);
        // Without it lines are drawn at events only.
        let _ = std::thread::Builder::new()
            .name("bars".to_owned())
            .spawn(move || keep_drawing(&drawn));
        Bars {
            all: MultiProgress::with_draw_target(draw_target::stderr()),
            files,
        }
    }

    /// Above the bars, as an ordinary line: it may be longer than the terminal is wide.
    fn print(&self, line: impl std::fmt::Display) {
        self.all.suspend(|| say!("{line}"));
    }
}

fn erase(drawn: &ProgressBar, all: &MultiProgress) {
    drawn.finish_and_clear();
    // Else its empty line would stay for as long as others are drawn above it.
    all.remove(drawn);
}

/// Until nobody has the bars any more.
fn keep_drawing(files: &Weak<Mutex<Files>>) {
    while let Some(files) = files.upgrade() {
        lock(&files).draw(Instant::now());
        drop(files);
        std::thread::sleep(TICK);
    }
}

fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    fn bar(&mut self, event: &Event<'_>, all: &MultiProgress) -> &mut Bar {
        let (name, footer) = (&mut self.name, &self.footer);
        self.bars.entry(event.id).or_insert_with(|| {
            let file = plain::name(event.path);
            *name = console::measure_text_width(&file).max(*name);
            let drawn = empty();
            Bar {
                drawn: match footer {
                    Some(footer) => all.insert_before(footer, drawn),
                    None => all.add(drawn),
                },
                name: file,
                wait: None,
            }
        })
    }

    /// Tells below the bars how many are still to come.
    fn count_queued(&mut self, all: &MultiProgress) {
        match (self.queued.len(), &self.footer) {
            (0, Some(footer)) => {
                erase(footer, all);
                self.footer = None;
            }
            (0, None) => {}
            (_, Some(_)) => {}
            (_, None) => self.footer = Some(all.add(empty())),
        }
    }

    fn draw(&mut self, now: Instant) {
        let look = Look::of_stderr();
        // The last column stays free: some terminals begin a new line once it is written to.
        let width = look.width.unwrap_or(COLUMNS).saturating_sub(1);
        for (id, bar) in &self.bars {
            let Some(journey) = self.journeys.of(*id) else {
                continue;
            };
            let phase = match &bar.wait {
                Some(wait) => Phase::Waiting {
                    left: wait.until.saturating_duration_since(now),
                    why: &wait.why,
                },
                None if journey.answered => Phase::Moving {
                    per_second: journey.speed.per_second(now),
                    left: journey.left(now),
                    silence: journey.speed.silence(now),
                },
                None => Phase::Connecting,
            };
            let view = View {
                name: &bar.name,
                attempt: journey.attempt,
                bytes: journey.bytes,
                total: journey.total,
                phase,
            };
            bar.drawn
                .set_message(bar::line(&view, self.name, width, look));
        }
        if let Some(footer) = &self.footer {
            let line = format!("{} more are queued", self.queued.len());
            footer.set_message(text::cut(&line, width, look));
        }
    }
}

impl Listener for Bars {
    fn hear(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut files = lock(&self.files);
        let journey = files.journeys.hear(event, now);
        let line = plain::line(event, journey, now);
        match &event.what {
            What::Queued => {
                files.queued.insert(event.id);
                files.count_queued(&self.all);
            }
            What::Started { .. } => {
                files.queued.remove(&event.id);
                files.bar(event, &self.all).wait = None;
                files.count_queued(&self.all);
            }
            What::Restart { .. } => self.print(line.unwrap_or_default()),
            What::Headers { mismatch: true, .. } => {
                if let Some(line) = line {
                    self.print(line);
                }
            }
            What::Headers { .. } | What::Progress { .. } => return, // the thread draws what there is
            What::Retrying {
                delay,
                asked_by,
                error,
                ..
            } => {
                let until = now.checked_add(*delay).unwrap_or(now);
                let why = plain::wait_reason(*asked_by, error);
                files.bar(event, &self.all).wait = Some(Wait { until, why });
            }
            What::Waiting { until, why } => {
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                let (until, why) = (now.checked_add(left).unwrap_or(now), text::plain(why));
                files.bar(event, &self.all).wait = Some(Wait { until, why });
            }
            What::Completed(_) | What::Failed(_) | What::Cancelled(_) => {
                files.queued.remove(&event.id);
                if let Some(bar) = files.bars.remove(&event.id) {
                    erase(&bar.drawn, &self.all);
                }
                files.count_queued(&self.all);
                files.journeys.forget(event.id);
                self.print(line.unwrap_or_default());
            }
        }
        files.draw(now);
    }
}

impl Reporter for Bars {
    fn was_done(&self, row: &Row, how: &WasDone) {
        lock(&self.files).journeys.was_done(row.downloaded);
        self.print(plain::was_done(row, how));
    }
    fn refused(&self, target: &Target, error: &Error) {
        lock(&self.files).journeys.was_not_done();
        self.print(plain::refused(target, error));
    }
    fn end(&self, exit: Exit, to_go_on: &str) {
        let mut files = lock(&self.files);
        let _ = self.all.clear(); // a terminal that is gone
        // A bar that goes would draw the others once more.
        self.all.set_draw_target(ProgressDrawTarget::hidden());
        files.bars.clear();
        files.footer = None;
        plain::end(&files.journeys, exit, to_go_on);
    }
}

/// A line that says only what it is told.
fn empty() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}
