//! What is made from the description of the arguments: completions for shells, and the manual.

use super::args::Args;
use super::output::{Exit, print};
use super::typed::habits;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regrip completions bash > ~/.local/share/bash-completion/completions/regrip
  regrip completions fish > ~/.config/fish/completions/regrip.fish
  regrip completions zsh > \"${fpath[1]}/_regrip\"")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regrip man | man -l -
  regrip man > ~/.local/share/man/man1/regrip.1")]
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
