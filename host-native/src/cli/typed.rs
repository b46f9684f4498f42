//! From the words that were typed to [`Args`]: the command that is meant, habits from curl, wget and aria2, and the defaults of
//! `get.jsonc`.
//!
//! `habits.json` says what users of other programs type and what to type here. An option of regrip counts as a habit only if
//! its value shows that another program's option is meant. No value that was typed is repeated in an error.

use super::args::{Args, Command as Parsed};
use crate::config::{Setting, SettingValue, settings};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, CommandFactory, Id, Parser};
use regrip_core::redacted;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is typed elsewhere.
#[derive(Deserialize)]
pub(super) struct Habits {
    options: Vec<Habit>,
    /// For the manual and README: what is typed elsewhere, and what is typed here.
    pub(super) table: Vec<(String, String)>,
}

/// Options of other programs.
#[derive(Deserialize)]
struct Habit {
    typed: Vec<String>,
    /// Only if the next word is like this.
    #[serde(rename = "if")]
    next: Option<Next>,
    /// What to type instead; without it the option is accepted and has no effect.
    say: Option<String>,
}

/// The word after an option.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Next {
    /// `-`, which belongs to the option.
    Dash,
    /// Neither a URL nor an option.
    File,
    Url,
    /// Not a number and not `auto`.
    Word,
    /// The data of a request.
    Data,
    /// Bytes with a unit, such as `1M`.
    Size,
}

impl Next {
    fn is(self, word: &str) -> bool {
        let is_url = word.contains("://");
        match self {
            Next::Dash => word == "-",
            Next::File => !is_url && (word == "-" || !word.starts_with('-')),
            Next::Url => is_url,
            Next::Word => word != "auto" && word.parse::<i64>().is_err(),
            Next::Data => word.contains('=') || word.starts_with(['@', '{']),
            Next::Size => {
                let digits = word.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
        }
    }
}

/// The table.
pub(super) fn habits() -> Habits {
    // A test reads it.
    serde_json::from_str(include_str!("habits.json")).unwrap_or(Habits { options: Vec::new(), table: Vec::new() })
}

/// Why the words cannot be used.
pub(super) enum Unparsed {
    /// By clap, which also says so for `--help`.
    Clap(clap::Error),
    /// A line or two for the user.
    Text(String),
}

/// Reads the words of the process's command line, the program's name first.
pub(super) fn parse(mut words: Vec<OsString>) -> Result<Args, Unparsed> {
    let root = Args::command();
    choose_command(&root, &mut words);
    if words.get(1).is_some_and(|name| name == "get")
        && let Some(get) = root.find_subcommand("get")
    {
        let (kept, typed) = without_habits(get, words.split_off(2)).map_err(Unparsed::Text)?;
        let wants_help = kept.iter().any(|word| word == "--help" || word == "-h");
        if !wants_help {
            words.extend(defaults(get, &typed).map_err(Unparsed::Text)?);
        }
        words.extend(kept);
    }
    Args::try_parse_from(words).map_err(|error| Unparsed::Clap(redact(error)))
}

/// Puts the command in front. It may stand behind options, and is `get` if there is a URL in its place.
fn choose_command(root: &Command, words: &mut Vec<OsString>) {
    let options: Vec<&Arg> = root.get_subcommands().flat_map(Command::get_arguments).collect();
    let text = |at: usize| words.get(at).map(|word| word.to_string_lossy());
    // Words that are neither options nor their values; one may be the value of an unknown option.
    let mut plain = Vec::new();
    let (mut at, mut wants_help) = (1, false);
    while let Some(word) = text(at) {
        match &*word {
            "--" => {
                plain.extend(at + 1..words.len());
                break;
            }
            word if is_option(word) => {
                wants_help |= ["-h", "--help", "-V", "--version"].contains(&word);
                at += usize::from(value_is_next(&options, word));
            }
            _ => plain.push(at),
        }
        at += 1;
    }
    let first = plain.first().copied();
    let is_command = |word: &str| word == "help" || root.find_subcommand(word).is_some();
    let is_bare = |word: &str| !word.contains([':', '/', '.']);
    let is_behind_unknown = |at: usize| text(at - 1).is_some_and(|word| is_unknown(&options, &word));
    let has_url = plain.iter().any(|at| text(*at).is_some_and(|word| word.contains("://")));
    // clap suggests the command that a mistyped word may mean.
    let names_command =
        |at: usize, word: &str| is_command(word) || is_bare(word) && (at == 1 || !has_url && !is_behind_unknown(at));
    let command = first.filter(|at| text(*at).is_some_and(|word| names_command(*at, &word)));
    match command {
        Some(at) => {
            let word = words.remove(at);
            words.insert(1, word);
        }
        None if words.len() == 1 || wants_help && first.is_none() => {}
        None => words.insert(1, "get".into()),
    }
}

/// Returns `true` if a word is an option that no command has.
fn is_unknown(options: &[&Arg], word: &str) -> bool {
    is_option(word)
        && match word.strip_prefix("--") {
            Some(name) => of_name(options, name.split('=').next().unwrap_or(name)).is_none(),
            None => word.chars().skip(1).any(|letter| of_letter(options, letter).is_none()),
        }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

fn takes_value(arg: &Arg) -> bool {
    !arg.is_positional() && matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn of_letter<'a>(options: &[&'a Arg], letter: char) -> Option<&'a Arg> {
    let has = |arg: &Arg| {
        let aliases = arg.get_all_short_aliases().unwrap_or_default();
        arg.get_short() == Some(letter) || aliases.contains(&letter)
    };
    options.iter().copied().find(|arg| has(arg))
}

fn of_name<'a>(options: &[&'a Arg], name: &str) -> Option<&'a Arg> {
    let has = |arg: &Arg| arg.get_long() == Some(name) || arg.get_all_aliases().unwrap_or_default().contains(&name);
    options.iter().copied().find(|arg| has(arg))
}

/// Returns `true` if an option takes the next word as its value.
fn value_is_next(options: &[&Arg], word: &str) -> bool {
    if let Some(name) = word.strip_prefix("--") {
        return of_name(options, name).is_some_and(takes_value);
    }
    let mut letters = word.chars().skip(1);
    let valued = letters.find(|letter| of_letter(options, *letter).is_some_and(takes_value));
    valued.is_some() && letters.next().is_none()
}

/// Leaves out the options that have no effect here. Returns the other words and which options they contain.
///
/// # Errors
/// What to type instead of an option of another program.
fn without_habits(get: &Command, words: Vec<OsString>) -> Result<(Vec<OsString>, Vec<Id>), String> {
    let options: Vec<&Arg> = get.get_arguments().collect();
    let habits = habits();
    let (mut kept, mut typed) = (Vec::new(), Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().filter(|text| is_option(text)).map(str::to_owned) else {
            kept.push(word);
            continue;
        };
        if text == "--" {
            kept.push(word);
            break;
        }
        let next = words.peek().and_then(|word| word.to_str()).map(str::to_owned);
        let left = match text.strip_prefix("--") {
            Some(name) => {
                let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
                let arg = of_name(&options, name);
                habits.find(&format!("--{name}"), arg, value.or(next.as_deref()))?;
                typed.extend(arg.map(|arg| arg.get_id().clone()));
                word
            }
            None => {
                let (left, takes_next) = letters(&habits, &options, &text, next.as_deref(), &mut typed)?;
                if takes_next {
                    words.next();
                }
                left.into()
            }
        };
        if left == "-" {
            continue;
        }
        let has_value = value_is_next(&options, &left.to_string_lossy());
        kept.push(left);
        if has_value {
            kept.extend(words.next());
        }
    }
    kept.extend(words);
    Ok((kept, typed))
}

/// A word of letters without those that have no effect, and whether the next word has none either.
fn letters(
    habits: &Habits,
    options: &[&Arg],
    word: &str,
    next: Option<&str>,
    typed: &mut Vec<Id>,
) -> Result<(String, bool), String> {
    let mut left = String::from("-");
    let mut letters = word.strip_prefix('-').unwrap_or(word).chars();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str();
        let arg = of_letter(options, letter);
        let value = match rest {
            "" => next,
            _ if rest == "-" || arg.is_some() => Some(rest.strip_prefix('=').unwrap_or(rest)),
            _ => None,
        };
        match habits.find(&format!("-{letter}"), arg, value)? {
            Some(Next::Dash) => return Ok((left, rest.is_empty())),
            Some(_) => {}
            None => {
                left.push(letter);
                typed.extend(arg.map(|arg| arg.get_id().clone()));
                if arg.is_some_and(takes_value) {
                    left.push_str(rest);
                    break;
                }
            }
        }
    }
    Ok((left, false))
}

impl Habits {
    /// `Some` if an option is accepted and has no effect: of which kind the next word is.
    ///
    /// # Errors
    /// What to type instead.
    fn find(&self, typed: &str, arg: Option<&Arg>, next: Option<&str>) -> Result<Option<Next>, String> {
        let is_meant = |habit: &&Habit| {
            let fits = match habit.next {
                Some(kind) => next.is_some_and(|word| kind.is(word)),
                None => arg.is_none(),
            };
            fits && habit.typed.iter().any(|option| option == typed)
        };
        match self.options.iter().find(is_meant) {
            None => Ok(None),
            Some(Habit { say: Some(say), .. }) => Err(format!("{typed}: {say}")),
            Some(habit) => Ok(Some(habit.next.unwrap_or(Next::File))),
        }
    }
}

/// The file of defaults, if there is one. An environment that names no usable folder has none.
fn defaults_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    folder.map(|folder| folder.join("regrip/get.jsonc")).filter(|file| file.exists())
}

/// The defaults of `get` that no typed option replaces or excludes, as words.
///
/// # Errors
/// File, line and key of what is wrong.
fn defaults(get: &Command, typed: &[Id]) -> Result<Vec<OsString>, String> {
    let Some(file) = defaults_file() else {
        return Ok(Vec::new());
    };
    let about = |problem: &dyn std::fmt::Display| format!("{}: {problem}", file.display());
    let settings = settings(&file).map_err(|problem| about(&problem))?;
    let options: Vec<&Arg> = get.get_arguments().collect();
    let (mut all, mut counting) = (Vec::new(), Vec::new());
    for setting in settings {
        let Some(arg) = of_name(&options, &setting.key) else {
            if !typed.iter().any(|id| id == "quiet") {
                say!("regrip: warning: {}", about(&setting.problem("is unknown and is ignored")));
            }
            continue;
        };
        let words = words_of(arg, &setting).map_err(|expected| about(&setting.problem(expected)))?;
        all.extend(words.iter().cloned());
        check(&all).map_err(|why| about(&setting.problem(&why)))?;
        let excludes = |id: &Id| {
            let conflicts =
                |one: &Arg, other: &Id| get.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other);
            let other = options.iter().find(|arg| arg.get_id() == id);
            id == arg.get_id() || conflicts(arg, id) || other.is_some_and(|other| conflicts(other, arg.get_id()))
        };
        if !typed.iter().any(excludes) {
            counting.extend(words);
        }
    }
    Ok(counting)
}

/// A setting as it would be typed.
fn words_of(arg: &Arg, setting: &Setting) -> Result<Vec<OsString>, &'static str> {
    let word = |value: &str| OsString::from(format!("--{}={value}", setting.key));
    let several = matches!(arg.get_action(), ArgAction::Append);
    match &setting.value {
        SettingValue::Flag(on) if !takes_value(arg) => {
            Ok(on.then(|| OsString::from(format!("--{}", setting.key))).into_iter().collect())
        }
        _ if !takes_value(arg) => Err("expected true or false"),
        SettingValue::Text(text) => Ok(vec![word(text)]),
        SettingValue::Texts(texts) if several => Ok(texts.iter().map(|text| word(text)).collect()),
        _ if several => Err("expected a string or a list of strings"),
        _ => Err("expected a string or a number"),
    }
}

/// Checks words of `get` as if they were typed.
fn check(words: &[OsString]) -> Result<(), String> {
    let (before, behind) = (["regrip", "get"], ["--quiet", "http://localhost/file"]);
    let words = before.iter().map(OsString::from).chain(words.iter().cloned()).chain(behind.iter().map(OsString::from));
    let args = Args::try_parse_from(words).map_err(|error| {
        let text = redact(error).to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })?;
    match args.command {
        Parsed::Get(get) => super::get::check(&get),
        _ => Ok(()),
    }
}

/// Replaces typed values and commands in a usage error by kind and length: they may be secrets. Names of options stay. clap's
/// advice to pass an unknown option as a value is left out.
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
    if error.kind() == clap::error::ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// Returns `true` for options and placeholders, which are our own words.
fn is_named(typed: &str) -> bool {
    typed.starts_with(['-', '<', '['])
}
