//! A configuration from a text.

use regrip::config::{Config, ConfigRefused, Loaded, Problem, parse};
use std::path::Path;

/// Reads a text, in the folder `/etc/regrip` and an environment of one variable, `KEY`.
pub(crate) fn read(text: &str) -> Result<Loaded, ConfigRefused> {
    let env = |name: &str| (name == "KEY").then(|| "from the environment".to_owned());
    parse(text, Path::new("/etc/regrip"), &env)
}

/// What a text means, and not a word about it.
pub(crate) fn config(text: &str) -> Config {
    let loaded = read(text).unwrap_or_else(|refused| panic!("{text}: {refused:#?}"));
    assert_eq!(loaded.warnings, [], "{text}");
    loaded.config
}

/// What is wrong with a text.
pub(crate) fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigRefused::Wrong { errors, .. }) => errors.iter().map(Problem::to_string).collect(),
        other => panic!("{text}: {other:?}"),
    }
}
