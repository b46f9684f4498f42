//! What the command line writes: lines on standard output and standard error, fitted to the terminal, and the exit code.

use console::Term;
use regrip_core::Error;
use std::env;
use std::io::{self, Write, stdout};

/// Writes a line to standard error. If nobody reads it any more, downloads go on, while `eprintln!` would panic.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), $($words)*);
    }};
}

/// Writes a line to standard output. See `say!`.
macro_rules! out {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout().lock(), $($words)*);
    }};
}

/// Writes bytes to standard output. A reader that stops early, as `head` does, is no error.
pub(crate) fn print(bytes: &[u8]) -> Exit {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say!("regrip: cannot write to standard output: {error}");
            Exit::Unusable
        }
        _ => Exit::Done,
    }
}

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns; `None` if the output is no terminal, and lines may be of any length.
    pub(crate) width: Option<usize>,
    /// Characters beyond ASCII.
    pub(crate) unicode: bool,
}

impl Layout {
    /// Of standard output.
    pub(crate) fn of_stdout() -> Self {
        Layout::of(&Term::stdout())
    }

    /// Of standard error at this moment: terminals are resized.
    pub(crate) fn of_stderr() -> Self {
        Layout::of(&Term::stderr())
    }

    fn of(term: &Term) -> Self {
        let columns = term.size_checked().map(|(_rows, columns)| columns.into());
        Layout { width: columns.filter(|_| term.is_term()), unicode: unicode() }
    }

    /// Stands for omitted text.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

/// Returns `true` if the terminal can move its cursor, so that bars can be drawn.
pub(crate) fn can_draw(term: &Term) -> bool {
    term.is_term() && !is_dumb()
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// By the locale, as the C library reads it: the first of the three that is set counts.
fn unicode() -> bool {
    if is_dumb() {
        return false;
    }
    let set = |name: &&str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// How a command ended: by an exit code, or by one and a text for the user, `regrip: ` before it.
pub(crate) type CommandResult<T = Exit> = Result<T, (Exit, String)>;

/// A failure with this exit code: what was being done, and the error.
pub(crate) fn failed<E: std::fmt::Display>(exit: Exit, what: &str) -> impl FnOnce(E) -> (Exit, String) {
    move |error| (exit, format!("{what}: {error}"))
}

/// The exit code of a command. A larger one takes precedence over a smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Everything was done.
    #[default]
    Done,
    /// Some downloads failed.
    Failed,
    /// The arguments or the configuration were wrong; nothing was written.
    Usage,
    /// The disk or the database cannot be used.
    Unusable,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unusable => 3,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Result<(), Error>> for Exit {
    fn from(result: Result<(), Error>) -> Exit {
        result.map_or_else(|error| Exit::from(&error), |()| Exit::Done)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        match error {
            Error::Interrupted => Exit::Interrupted,
            Error::DiskFull { .. } | Error::Disk { .. } | Error::Ledger { .. } | Error::TooManyFiles { .. } => {
                Exit::Unusable
            }
            Error::DestinationBusy { .. } | Error::NameRefused { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
