//! Progress bars on a terminal: a line for each file in progress; finished files scroll up.
//!
//! indicatif draws the lines. A thread sets what they say several times a second, so that countdowns
//! run and a resized terminal is filled.

use super::progress::{Progress, Run};
use super::{Reporter, RunEnd, WasDone, plain};
use crate::cli::get::Target;
use crate::cli::output::Layout;
use crate::cli::text;
use crate::host::Listener;
use crate::sync::lock;
use console::Term;
use indicatif::{FormattedDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use regrip_core::{DownloadId, Error, Event, Row, What};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

/// Between two drawings.
const TICK: Duration = Duration::from_millis(200);
/// Drawings a second at most.
const HERTZ: u8 = 20;
/// If the terminal does not say how wide it is.
const COLUMNS: usize = 80;
/// The speed of a connection that received no data for this long is replaced by the time.
const SILENT: Duration = Duration::from_secs(3);

/// Draws bars on standard error.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug)]
struct Files {
    run: Run,
    /// What each drawn file waits for, if it waits.
    drawn: BTreeMap<DownloadId, Option<Wait>>,
    /// Accepted, but not started yet.
    queued: BTreeSet<DownloadId>,
    /// The number of queued files, below the bars.
    footer: Option<ProgressBar>,
    /// Columns of the longest name so far.
    name: usize,
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
            run: Run::begin(Instant::now()),
            drawn: BTreeMap::new(),
            queued: BTreeSet::new(),
            footer: None,
            name: 0,
        }));
        let weak = Arc::downgrade(&files);
        // Without the thread, lines are drawn at events only.
        let _ = std::thread::Builder::new().name("bars".to_owned()).spawn(move || keep_drawing(&weak));
        let screen = Screen { term: Term::buffered_stderr(), line_is_full: AtomicBool::new(false) };
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen), HERTZ);
        Bars { all: MultiProgress::with_draw_target(target), files }
    }

    /// Prints an ordinary line above the bars.
    fn print(&self, line: impl std::fmt::Display) {
        self.all.suspend(|| say!("{line}"));
    }

    fn erase(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        // Otherwise its empty line would stay as long as others are drawn above it.
        self.all.remove(bar);
    }

    /// Draws a file as waiting, or as in progress.
    fn show(&self, files: &mut Files, id: DownloadId, wait: Option<Wait>) {
        let Some(file) = files.run.file(id) else {
            return;
        };
        if files.drawn.insert(id, wait).is_none() {
            files.name = files.name.max(console::measure_text_width(&file.name));
            match &files.footer {
                Some(footer) => self.all.insert_before(footer, file.bar.clone()),
                None => self.all.add(file.bar.clone()),
            };
        }
    }

    /// Adds or removes the line that counts the queued files.
    fn count_queued(&self, files: &mut Files) {
        if files.queued.is_empty() {
            if let Some(footer) = files.footer.take() {
                self.erase(&footer);
            }
        } else if files.footer.is_none() {
            let footer = ProgressBar::no_length().with_style(style("{wide_msg}"));
            files.footer = Some(self.all.add(footer));
        }
    }
}

/// Draws until nobody holds the bars any more.
fn keep_drawing(files: &Weak<Mutex<Files>>) {
    while let Some(files) = files.upgrade() {
        lock(&files).draw(Instant::now());
        drop(files);
        std::thread::sleep(TICK);
    }
}

impl Files {
    fn draw(&self, now: Instant) {
        let layout = Layout::of_stderr();
        let width = layout.width.unwrap_or(COLUMNS).saturating_sub(1);
        for (id, wait) in &self.drawn {
            let Some(file) = self.run.file(*id) else {
                continue;
            };
            draw(file, wait.as_ref(), self.name, now, width, layout);
        }
        if let Some(footer) = &self.footer {
            footer.set_message(format!("{} more queued", self.queued.len()));
        }
    }
}

/// Sets what the line of a file says in `width` columns. Names take up to `name` columns, so that bars are aligned.
fn draw(file: &Progress, wait: Option<&Wait>, name: usize, now: Instant, width: usize, layout: Layout) {
    let name = name.min((width * 3 / 10).clamp(8, 40)).min(width.saturating_sub(2));
    let room = width.saturating_sub(name + 2);
    let percent = file.total().map(|total| text::percent(file.bytes(), total));
    let (template, message) = match wait {
        Some(wait) => ("{prefix}  {wide_msg:.yellow}", waiting(file, wait, now)),
        None if !file.answered => ("{prefix}  {wide_msg}", connecting(file)),
        None => {
            let (has_bar, numbers) = numbers(file, percent, now, room);
            match has_bar {
                true => ("{prefix}  {wide_bar:.green/dim}  {msg}", numbers),
                false => ("{prefix}  {wide_msg:>}", numbers),
            }
        }
    };
    let shown = text::shorten(&file.name, name, layout);
    file.bar.set_style(style(template).progress_chars(if layout.unicode { "━╸─" } else { "=>-" }));
    file.bar.set_prefix(text::pad(&shown, name));
    file.bar.set_message(text::cut(&message, room, layout));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn connecting(file: &Progress) -> String {
    let attempt = match file.attempt {
        0 | 1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let kept = match file.bytes() {
        0 => String::new(),
        bytes => format!(", {} so far", text::bytes(bytes)),
    };
    format!("connecting{attempt}{kept}")
}

fn waiting(file: &Progress, wait: &Wait, now: Instant) -> String {
    let left = wait.until.saturating_duration_since(now);
    // Whole seconds: tenths would only flicker.
    let left = match left.as_secs() + u64::from(left.subsec_nanos() > 0) {
        // It waits for a permit now.
        0 => "next".to_owned(),
        seconds @ 1..60 => format!("in {seconds} s"),
        seconds => format!("in {}", text::wait(Duration::from_secs(seconds))),
    };
    let next = file.attempt.saturating_add(1);
    format!("attempt {next} {left}: {}", wait.why)
}

/// The numbers of a file in progress that fit beside its bar, and whether a bar fits: percentage, speed, time left, bar
/// and bytes, in this order.
fn numbers(file: &Progress, percent: Option<u64>, now: Instant, mut room: usize) -> (bool, String) {
    let mut fits = |columns: usize| {
        let rest = room.checked_sub(columns);
        room = rest.unwrap_or(room);
        rest.is_some()
    };
    let silence = file.silence(now);
    let percent = percent.filter(|_| fits(4));
    let speed = fits(2 + 9).then(|| match silence {
        silence if silence >= SILENT => format!("idle {}s", silence.as_secs()),
        _ => file.per_second.map_or_else(String::new, |speed| format!("{}/s", text::bytes(speed))),
    });
    let left = fits(2 + 8).then(|| match file.left.filter(|_| silence < SILENT) {
        Some(left) => FormattedDuration(left).to_string(),
        None => String::new(),
    });
    let has_bar = file.total().is_some() && fits(2 + 8);
    let bytes = fits(2 + 15).then(|| {
        let bytes = text::bytes(file.bytes());
        match file.total() {
            Some(total) => format!("{bytes}/{}", text::bytes(total)),
            None => bytes,
        }
    });
    let columns = [
        percent.map(|percent| format!("{percent:>3}%")),
        bytes.map(|bytes| format!("{bytes:>15}")),
        speed.map(|speed| format!("{speed:>9}")),
        left.map(|left| format!("{left:>8}")),
    ];
    let columns: Vec<String> = columns.into_iter().flatten().collect();
    (has_bar, columns.join("  "))
}

impl Listener for Bars {
    fn hear(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut files = lock(&self.files);
        let file = files.run.record(event, now);
        let line = plain::line(event, file, now, Layout::of_stderr());
        match &event.what {
            What::Queued => {
                files.queued.insert(event.id);
                self.count_queued(&mut files);
            }
            What::Started { .. } => {
                files.queued.remove(&event.id);
                self.show(&mut files, event.id, None);
                self.count_queued(&mut files);
            }
            What::Restart { .. } | What::Headers { mismatch: true, .. } => {
                if let Some(line) = line {
                    self.print(line);
                }
            }
            What::Headers { .. } | What::Progress { .. } => return, // the thread draws it
            What::Retrying { delay, asked_by, error, .. } => {
                let until = now.checked_add(*delay).unwrap_or(now);
                let why = plain::wait_reason(*asked_by, error);
                self.show(&mut files, event.id, Some(Wait { until, why }));
            }
            What::Waiting { until, why } => {
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                let (until, why) = (now.checked_add(left).unwrap_or(now), text::plain(why));
                self.show(&mut files, event.id, Some(Wait { until, why }));
            }
            What::Completed(_) | What::Failed(_) | What::Cancelled(_) | What::Paused { .. } => {
                files.queued.remove(&event.id);
                if files.drawn.remove(&event.id).is_some()
                    && let Some(file) = files.run.file(event.id)
                {
                    self.erase(&file.bar);
                }
                self.count_queued(&mut files);
                files.run.forget(event.id);
                self.print(line.unwrap_or_default());
            }
        }
        files.draw(now);
    }
}

impl Reporter for Bars {
    fn note(&self, lines: &str) {
        self.print(lines);
    }
    fn was_done(&self, row: &Row, how: &WasDone) {
        lock(&self.files).run.add_unchanged();
        self.print(plain::was_done(row, how, Layout::of_stderr()));
    }
    fn warn(&self, text: &str) {
        self.print(format_args!("regrip: warning: {text}"));
    }
    fn refused(&self, target: &Target, error: &Error) {
        lock(&self.files).run.add_failed();
        self.print(plain::refused(target, error, Layout::of_stderr()));
    }
    fn end(&self, end: &RunEnd<'_>) {
        let mut files = lock(&self.files);
        let _ = self.all.clear(); // fails if the terminal is gone
        // Removing a bar would draw the others once more.
        self.all.set_draw_target(ProgressDrawTarget::hidden());
        files.drawn.clear();
        files.footer = None;
        plain::end(&files.run, end);
    }
}

/// The terminal that bars are drawn on.
///
/// indicatif fills every line up to the right edge with blanks, which is how it gets to the next one, and leaves the cursor
/// there. Then a terminal that is resized joins and breaks those lines, and the `^C` that it echoes goes onto a line of its
/// own, which indicatif does not know about: either leaves lines behind that nobody clears. So there are line feeds between
/// the lines instead of the blanks, and the cursor waits at the left.
#[derive(Debug)]
struct Screen {
    term: Term,
    /// indicatif assumes that the cursor is at the right edge: what it writes next belongs on the next line.
    line_is_full: AtomicBool,
}

impl TermLike for Screen {
    /// The last column stays free: some terminals begin a new line once it is written to.
    fn width(&self) -> u16 {
        self.term.size().1.saturating_sub(1).max(1)
    }
    fn height(&self) -> u16 {
        self.term.size().0
    }
    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_up(lines)
    }
    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_down(lines)
    }
    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }
    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.term.write_line(line)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            // The line was cleared before, so blanks change nothing.
            self.line_is_full.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.line_is_full.swap(false, Ordering::Relaxed) {
            self.term.write_str("\n")?;
        }
        self.term.write_str(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }
    fn flush(&self) -> io::Result<()> {
        self.line_is_full.store(false, Ordering::Relaxed);
        self.term.write_str("\r")?;
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records what is drawn.
    #[derive(Clone, Debug)]
    struct Recorder(u16, Arc<Mutex<String>>);

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            lock(&self.1).push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            lock(&self.1).clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line of a file in its third attempt: before a response, with one, and waiting.
    fn drawn(received: Option<Option<u64>>, why: Option<&str>, width: u16, unicode: bool) -> String {
        let now = Instant::now();
        let mut run = Run::begin(now);
        let mut record = |what| {
            let event = Event {
                id: 1,
                at: SystemTime::UNIX_EPOCH,
                url: "https://example.org/",
                path: "/films/a.film.with.a.long.name.s01e02.mkv",
                what,
            };
            run.record(&event, now);
        };
        let (attempt, from) = (3, 18_000_000);
        record(What::Started { attempt, from });
        if let Some(expected_bytes) = received {
            record(What::Headers { expected_bytes, source: None, mismatch: false });
        }
        let file = run.file(1).unwrap();
        let recorder = Recorder(width, Arc::default());
        let target = ProgressDrawTarget::term_like(Box::new(recorder.clone()));
        file.bar.set_draw_target(target);
        let wait = why.map(|why| Wait { until: now + Duration::from_millis(11_200), why: why.to_owned() });
        let layout = Layout { width: None, unicode };
        draw(file, wait.as_ref(), 40, now, width.into(), layout);
        lock(&recorder.1).clear();
        file.bar.force_draw();
        let line = console::strip_ansi_codes(&lock(&recorder.1)).into_owned();
        line.trim_end().to_owned()
    }

    #[test]
    fn a_line_has_what_fits_in_the_terminal() {
        let sized = Some(Some(24_000_000));
        let table = [
            (sized, None, 20, "a.fi…mkv         75%"),
            (sized, None, 60, "a.film.wit…e02.mkv  ━━━━━━━━━╸───   75%"),
            (sized, None, 80, "a.film.with.a.lo…e02.mkv  ━━━━━━━╸──   75%  18.0 MB/24.0 MB"),
            (None, None, 60, "a.film.wit…e02.mkv  connecting, attempt 3, 18.0 MB so far"),
            (
                sized,
                Some("connection reset by peer"),
                60,
                "a.film.wit…e02.mkv  attempt 4 in 12 s: connection reset by …",
            ),
        ];
        for (received, why, width, line) in table {
            assert_eq!(drawn(received, why, width, true), line, "{width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..140 {
            for unicode in [true, false] {
                for (received, why) in [
                    (Some(Some(u64::MAX)), None),
                    (Some(None), None),
                    (None, None),
                    (None, Some("connection reset by peer")),
                ] {
                    let line = drawn(received, why, width, unicode);
                    let columns = console::measure_text_width(&line);
                    assert!(columns <= usize::from(width).max(2), "{width}: {line}");
                }
            }
        }
    }
}
