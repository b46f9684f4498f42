//! The command line: what was typed, what it means, and what the user sees.
//!
//! `main` parses, then one `match` hands over to a command. Arguments go through three stages: `typed` reads the words, `args`
//! is what they say, and each command turns it into what it means before anything is written.

#[macro_use]
mod output;

mod args;
#[cfg(feature = "demo")]
mod demo;
mod downloads;
mod drive;
mod get;
mod peers;
mod report;
mod serve;
mod text;
mod typed;

use args::Command;
pub(crate) use get::metalink;
use output::{CommandResult, Exit};
use std::process::ExitCode;
use typed::Unparsed;

/// Runs the command that was typed and returns the process's exit code.
pub fn main() -> ExitCode {
    let args = match typed::parse(std::env::args_os().collect()) {
        Ok(args) => args,
        // clap prints help to stdout with 0, usage errors to stderr with 2.
        Err(Unparsed::Clap(error)) => error.exit(),
        Err(Unparsed::Text(text)) => {
            say!("regrip: {text}");
            return ExitCode::from(Exit::Usage.code());
        }
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
        Command::Share(share) => peers::share(share),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo::main(demo),
        Command::Stub(stub) => peers::stub(stub),
        Command::Key(key) => peers::key(key),
        Command::Link(link) => peers::link(link),
        Command::Migrate(migrate) => serve::migrate(migrate),
        Command::CheckConfig(check) => serve::check_config(check),
        Command::Completions(completions) => Ok(output::completions(completions)),
        Command::Man(_) => Ok(output::man()),
    }
}
