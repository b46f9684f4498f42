//! A secret in any place of the configuration is shown nowhere.

use crate::support::read;
use jsonc_parser::ast::Value;
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::parse_to_ast;
use regrip::config::ConfigRefused;
use std::path::Path;

/// Whoever sees this text, whatever the case of its letters, has seen a secret.
const MARKER: &str = "hunter2marker";

/// What may stand in any place.
const FORMS: [&str; 18] = [
    r#""MARKER""#,
    r#""MARKER\u0001ß""#,
    r#"["MARKER"]"#,
    r#"[{"url": "MARKER", "apiKey": "MARKER", "type": "MARKER"}]"#,
    r#"{"env": "MARKER"}"#,
    r#"{"env": ["MARKER"]}"#,
    r#"{"file": "MARKER"}"#,
    r#"{"file": "/MARKER"}"#,
    r#"{"env": "KEY", "file": "MARKER"}"#,
    r#""me:MARKER@nas""#,
    r#""//me:MARKER@nas""#,
    r#""http:me:MARKER@nas""#,
    r#""http:/me:MARKER@nas""#,
    r#""http:\\\\me:MARKER@nas""#,
    r#""http://me:MARKER@nas/""#,
    r#""http://me:MAR/KER@nas:MARKER""#,
    r#""https://nas/?key=MARKER""#,
    r#""MARKER://nas""#,
];

/// What may stand in the place of an object's content.
const CONTENTS: [&str; 4] = [
    r#"{"MARKER": 1}"#,
    r#"{"MARKER": "a", "MARKER": "b"}"#,
    r#"{"MARKER x": "a"}"#,
    r#"{"Authorization: MARKER": "a"}"#,
];

/// Where each value of the example is, and each object of headers or of a secret.
fn places(text: &str) -> (Vec<Range>, Vec<Range>) {
    let parsed = parse_to_ast(text, &Default::default(), &Default::default()).expect("it is JSONC");
    let (mut values, mut private) = (Vec::new(), Vec::new());
    let mut left = vec![(String::new(), parsed.value.as_ref().expect("a value"))];
    while let Some((key, value)) = left.pop() {
        match value {
            Value::Object(object) => {
                if ["headers", "apiKey"].contains(&key.as_str()) {
                    private.push(value.range());
                }
                for property in &object.properties {
                    left.push((property.name.as_str().to_owned(), &property.value));
                }
            }
            Value::Array(array) => {
                left.extend(array.elements.iter().map(|element| (key.clone(), element)));
            }
            _ => {}
        }
        values.push(value.range());
    }
    (values, private)
}

/// All that is said about a text.
fn messages(text: &str) -> String {
    let messages = match read(text) {
        Ok(loaded) => format!("{:?}", loaded.warnings),
        Err(ConfigRefused::Wrong { errors, warnings }) => {
            let lines = errors.iter().chain(&warnings).map(ToString::to_string);
            format!("{errors:?} {warnings:?} {:?}", lines.collect::<Vec<_>>())
        }
        Err(other) => format!("{other} {other:?}"),
    };
    messages.to_ascii_lowercase()
}

#[test]
fn a_secret_in_any_place_is_shown_by_kind_and_length_only() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(here.join("../examples/config.jsonc")).expect("read");
    let (values, private) = places(&example);
    assert!(values.len() > 40 && private.len() > 3);
    let with = |range: &Range, form: &str| {
        let form = form.replace("MARKER", MARKER);
        format!("{}{form}{}", &example[..range.start], &example[range.end..])
    };
    let mut tried = 0;
    let all = values.iter().flat_map(|range| FORMS.map(|form| (range, form)));
    let contents = private.iter().flat_map(|range| CONTENTS.map(|form| (range, form)));
    for (range, form) in all.chain(contents) {
        let text = with(range, form);
        let messages = messages(&text);
        let line = text[..range.start].lines().count();
        assert!(!messages.contains(MARKER) && !messages.contains("ker@"), "line {line}: {form}: {messages}");
        tried += 1;
    }
    assert!(tried > 700, "{tried}");
}

#[test]
fn text_that_is_no_jsonc_is_not_repeated() {
    for text in [
        "MARKER",
        "{MARKER: 1}",
        "{\"a\": MARKER}",
        "{\"a\": 'MARKER'}",
        "{\"apiKey\": \"MARKER",
        "{\"apiKey\": \"\\uMARKER\"}",
        "{\"apiKey\": \"\\MARKER\"}",
        "{\"a\": 0xMARKER}",
        "{} MARKER",
    ] {
        let messages = messages(&text.replace("MARKER", MARKER));
        assert!(!messages.contains(MARKER), "{text}: {messages}");
    }
}
