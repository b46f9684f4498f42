//! Words for the user. Whoever reads them may be gone (`regrip … | head`): the downloads go on all the same, where
//! `println!` would panic.

use std::fmt::Arguments;
use std::io::{Write, stderr, stdout};

/// A line on standard error.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::say::to_stderr(format_args!($($words)*)) };
}

/// A line on standard output.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::say::to_stdout(format_args!($($words)*)) };
}

pub(crate) fn to_stderr(words: Arguments<'_>) {
    let _ = writeln!(stderr().lock(), "{words}");
}

pub(crate) fn to_stdout(words: Arguments<'_>) {
    let _ = writeln!(stdout().lock(), "{words}");
}
