//! `examples/config.jsonc` is a configuration, says every default, and has every knob.

use crate::support::read;
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::parse_to_ast;
use regrip_core::DownloadsConfig;
use std::collections::BTreeSet;
use std::path::Path;

fn example() -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(here.join("../examples/config.jsonc")).expect("it is there")
}

/// The example without the machine it is for.
fn anywhere() -> String {
    let text = example();
    let text = text.replace(r#"{ "file": "/etc/regrip/radarr.key" }"#, r#""radarr""#);
    text.replace("ANNA_KEY", "KEY").replace("SONARR_KEY", "KEY")
}

// S17
#[test]
fn the_example_is_a_configuration_that_says_the_defaults() {
    let loaded = read(&anywhere()).unwrap_or_else(|refused| panic!("{refused:#?}"));
    assert_eq!(loaded.warnings, []);
    let engine = loaded.config.downloads.expect("there is a block").engine;
    let expected = DownloadsConfig {
        max_concurrent_per_peer: Some(DownloadsConfig::default().permits_per_peer()),
        digest: Some(regrip_core::Algorithm::Sha256),
        ..DownloadsConfig::default()
    };
    assert_eq!(engine, expected);
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:5225");
}

// S17: the page of the configuration, written down a second time on purpose.
#[test]
fn the_example_has_every_knob() {
    let mut knobs: BTreeSet<String> = [
        "downloads.watchPath",
        "downloads.completedPath",
        "regrip.listen",
        "regrip.apiKey",
        "regrip.dataDir",
        "downloads.importPollIntervalMs",
        "downloads.blocklistFailed",
        "downloads.unlinkImportedFiles",
        "downloads.limitRate",
        "downloads.fileMode",
        "regrip.internalUrl",
        "regrip.external.instanceName",
        "regrip.external.url",
        "regrip.external.headers",
        "servers.source",
        "servers.pathMapping",
        "regrip.shareKeys.name",
        "regrip.shareKeys.apiKey",
        "peers.name",
        "peers.url",
        "peers.apiKey",
        "peers.headers",
        "servers.type",
        "servers.name",
        "servers.url",
        "servers.apiKey",
        "servers.headers",
        "servers.importPath",
        "servers.destination",
        "servers.autoregister.enable",
        "servers.autoregister.priority",
        "share",
        "hooks.onComplete",
        "hooks.onFail",
    ]
    .map(str::to_owned)
    .into();
    let engine = serde_json::to_value(DownloadsConfig::default()).expect("it is plain");
    let engine = engine.as_object().expect("it is an object").keys();
    knobs.extend(engine.map(|knob| format!("downloads.{knob}")));
    let text = example();
    let parsed = parse_to_ast(&text, &Default::default(), &Default::default()).expect("it is JSONC");
    let Some(Value::Object(top)) = &parsed.value else {
        panic!("it is no object");
    };
    let mut there = BTreeSet::new();
    collect(top, "", &mut there);
    assert_eq!(knobs.difference(&there).collect::<Vec<_>>(), [""; 0], "missing");
}

fn collect(object: &Object<'_>, above: &str, there: &mut BTreeSet<String>) {
    for property in &object.properties {
        let key = format!("{above}{}", property.name.as_str());
        let below = format!("{key}.");
        match &property.value {
            Value::Object(object) => collect(object, &below, there),
            Value::Array(array) => array.elements.iter().for_each(|element| {
                if let Value::Object(object) = element {
                    collect(object, &below, there);
                }
            }),
            _ => {}
        }
        there.insert(key);
    }
}
