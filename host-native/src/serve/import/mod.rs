//! Tells Radarr and Sonarr that a file is there.
//!
//! Begin with [`Imports`]. `telling` is what is known of one download's import; `command` is one request, `seen` the path
//! that it carries.
//!
//! Invariants: nothing that goes wrong here fails a download; how it went is in the row, after every attempt, so that the
//! next process goes on where this one ended. A server that is away takes no place of another one.

mod command;
mod imports;
mod seen;
mod telling;

pub(super) use imports::Imports;
