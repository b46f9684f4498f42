//! The command line: what was typed, what it means, and what the user sees.
//!
//! `main` parses, then one `match` hands over to a command. Arguments go through two stages: `args` is what was typed,
//! each command turns it into what it means before anything is written.

#[macro_use]
mod output;

mod args;
#[cfg(feature = "demo")]
mod demo;
mod downloads;
mod drive;
mod get;
mod manual;
mod report;
mod serve;
mod share;
mod state;
mod stub;
mod text;

use args::{Args, Command};
use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use output::CommandResult;
use regrip_core::redacted;
use std::process::ExitCode;

/// Runs the command that was typed and returns the process's exit code.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // clap prints help to stdout with 0, usage errors to stderr with 2.
        Err(error) => redact(error).exit(),
    };
    drive::survive_too_large_files();
    let exit = run(&args.command).unwrap_or_else(|(exit, text)| {
        say!("regrip: {text}");
        exit
    });
    ExitCode::from(exit.code())
}

fn run(command: &Command) -> CommandResult {
    match command {
        Command::Get(get) => get::main(get),
        Command::List(list) => downloads::list(list),
        Command::Show(show) => downloads::show(show),
        Command::Retry(retry) => downloads::retry(retry),
        Command::Pause(pause) => downloads::pause(pause),
        Command::Resume(resume) => downloads::resume(resume),
        Command::Cancel(cancel) => downloads::cancel(cancel),
        Command::Remove(remove) => downloads::remove(remove),
        Command::Add(add) => downloads::add(add),
        Command::Serve(serve) => serve::main(serve),
        Command::Share(share) => share::main(share),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo::main(demo),
        Command::Stub(stub) => stub::main(stub),
        Command::CheckConfig(check) => serve::check_config(check),
        Command::Completions(completions) => Ok(manual::completions(completions)),
        Command::Man(_) => Ok(manual::man()),
    }
}

/// Replaces typed values and commands in a usage error by kind and length: they may be secrets. Names of options stay.
fn redact(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        match error.get(kind) {
            Some(ContextValue::String(typed)) if !is_named(typed) => {
                let shown = ContextValue::String(redacted(typed));
                error.insert(kind, shown);
            }
            _ => {}
        }
    }
    error
}

/// Returns `true` for options and placeholders, which are our own words.
fn is_named(typed: &str) -> bool {
    typed.starts_with(['-', '<', '['])
}
