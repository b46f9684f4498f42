//! `regrip stub`: makes a stub, or says what is in one.

mod create;
mod inspect;

use super::Exit;
use super::args::Stub;

/// Runs the command.
pub(super) fn main(args: &Stub) -> Exit {
    match args {
        Stub::Create(create) => create::main(create),
        Stub::Inspect(inspect) => inspect::main(inspect),
    }
}
