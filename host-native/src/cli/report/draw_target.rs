//! The terminal that bars are drawn on.
//!
//! indicatif fills every line up to the right edge with blanks, which is how it gets to the next one, and leaves the cursor
//! there. Then a terminal that is resized joins and breaks those lines, and the `^C` that it echoes goes onto a line of its
//! own, which indicatif does not know of: either leaves lines behind that nobody clears. So there are line feeds between the
//! lines here instead of the blanks, and the cursor waits at the left.

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Drawings in a second at most.
const HERTZ: u8 = 20;

/// Standard error, as a target to draw on.
pub(super) fn stderr() -> ProgressDrawTarget {
    let screen = Screen {
        term: Term::buffered_stderr(),
        line_is_full: AtomicBool::new(false),
    };
    ProgressDrawTarget::term_like_with_hz(Box::new(screen), HERTZ)
}

#[derive(Debug)]
struct Screen {
    term: Term,
    /// indicatif takes the cursor to be at the right edge: what it writes next belongs on the next line.
    line_is_full: AtomicBool,
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1
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
