//! What the terminal at the other end can show.

use console::Term;
use std::env;

/// How text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns; `None` where the reader is no terminal, and a line may be as long as it likes.
    pub(crate) width: Option<usize>,
    /// Characters beyond ASCII.
    pub(crate) unicode: bool,
}

impl Look {
    /// Of standard output.
    pub(crate) fn of_stdout() -> Self {
        Look::of(&Term::stdout())
    }

    /// Of standard error, as it is at this moment: terminals are resized.
    pub(crate) fn of_stderr() -> Self {
        Look::of(&Term::stderr())
    }

    fn of(term: &Term) -> Self {
        let columns = term.size_checked().map(|(_rows, columns)| columns.into());
        Look {
            width: columns.filter(|_| term.is_term()),
            unicode: unicode(),
        }
    }

    /// What stands for text that was left out.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

/// A terminal that can move its cursor, so that bars can be drawn.
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
