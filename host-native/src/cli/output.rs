//! What the command line writes: lines on standard output and standard error, fitted to the terminal, the exit code; and what
//! is made from the description of the arguments: completions for shells, and the manual.

use super::args::Args;
use super::text;
use super::typed::habits;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
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

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
Examples:
  regrip completions bash > ~/.local/share/bash-completion/completions/regrip
  regrip completions fish > ~/.config/fish/completions/regrip.fish
  regrip completions zsh > \"${fpath[1]}/_regrip\""))]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
Examples:
  regrip man | man -l -
  regrip man > ~/.local/share/man/man1/regrip.1"))]
pub(crate) struct Man {}

/// Prints the script.
pub(crate) fn completions(args: &Completions) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, &mut Args::command(), "regrip", &mut script);
    print(&script)
}

/// Prints the manual.
pub(crate) fn man() -> Exit {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = write_manual(&mut page);
    print(&page)
}

/// One page for all: the command, then a section for each subcommand with its own parts below it.
fn write_manual(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Args::command().disable_help_subcommand(true);
    // Fills in what subcommands inherit, such as their names in usage lines.
    command.build();
    let main = Page::new(command.clone());
    main.render_title(page)?;
    main.render_name_section(page)?;
    main.render_synopsis_section(page)?;
    main.render_description_section(page)?;
    main.render_options_section(page)?;
    for subcommand in command.get_subcommands() {
        write_subcommand(subcommand, page)?;
    }
    write_notes(&main, page)?;
    write_habits(page);
    main.render_version_section(page)
}

/// What users of other programs type.
fn write_habits(page: &mut Vec<u8>) {
    let mut section = Roff::new();
    section.control("SH", ["FROM CURL, WGET AND ARIA2"]);
    for (elsewhere, here) in habits().table {
        let plain = |text: String| text.replace('`', "");
        section.control("TP", []).text([bold(plain(elsewhere))]).text([roman(plain(here))]);
    }
    // `\\:` is where roff may break a word: a digest with its algorithm is longer than a line of 80 columns.
    let break_long = |word: &str| if word.len() > 60 { word.replace(':', ":\\:") } else { word.to_owned() };
    let text = section.to_roff();
    page.extend(text.split_inclusive([' ', '\n']).map(break_long).collect::<String>().into_bytes());
}

fn write_subcommand(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH \"REGRIP {}\"", command.get_name().to_uppercase())?;
    let (part, mut below) = (Page::new(command.clone()), Vec::new());
    part.render_description_section(&mut below)?;
    part.render_synopsis_section(&mut below)?;
    part.render_options_section(&mut below)?;
    write_notes(&part, &mut below)?;
    // Its sections are parts of this one.
    let below = String::from_utf8_lossy(&below).replace("\n.SH ", "\n.SS ");
    match below.strip_prefix(".SH ") {
        Some(rest) => write!(page, ".SS {rest}"),
        None => write!(page, "{below}"),
    }
}

/// The text below the options in the help, which clap_mangen calls EXTRA.
fn write_notes(part: &Page, page: &mut Vec<u8>) -> io::Result<()> {
    let mut notes = Vec::new();
    part.render_extra_section(&mut notes)?;
    let notes = String::from_utf8_lossy(&notes).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    write!(page, "{notes}")
}
