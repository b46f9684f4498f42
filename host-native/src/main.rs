//! The binary `regrip`.

use std::process::ExitCode;

fn main() -> ExitCode {
    regrip::cli::main()
}
