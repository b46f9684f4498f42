//! What is taken, and what it means.

use crate::support::{config, errors, read};
use regrip::config::{Autoregister, ImportServerKind, Problem};
use regrip_core::{DownloadsConfig, OnExists};
use std::path::Path;

/// Those of a server, which leaves one permit to other origins.
fn defaults() -> DownloadsConfig {
    DownloadsConfig { max_concurrent_per_peer: Some(2), ..DownloadsConfig::default() }
}

// S16
#[test]
fn a_configuration_that_knows_only_the_paths_has_every_default() {
    let config = config(r#"{"downloads": {"watchPath": "/watch", "completedPath": "/done"}}"#);
    let downloads = config.downloads.expect("there is a block");
    assert_eq!(downloads.watch.as_deref(), Some(Path::new("/watch")));
    assert_eq!(downloads.completed, Path::new("/done"));
    assert_eq!(downloads.engine, defaults());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:5225");
    assert!(config.server.api_key.is_none() && config.peers.is_empty());
}

#[test]
fn an_empty_configuration_is_one() {
    assert!(config("{}").downloads.is_none());
    assert!(config("// nothing\n{ /* at all */ }\n").downloads.is_none());
}

#[test]
fn every_knob_of_the_engine_reaches_it() {
    // A value of its own for each knob, by the names that serde gives them.
    let mut numbered = serde_json::to_value(DownloadsConfig::default()).expect("it is plain");
    let knobs = numbered.as_object_mut().expect("it is an object");
    for (number, (_, value)) in knobs.iter_mut().enumerate() {
        *value = (number + 1).into();
    }
    knobs.insert("extraRetryStatuses".to_owned(), [408, 425].into());
    knobs.insert("onExists".to_owned(), "rename".into());
    knobs.insert("digest".to_owned(), "sha512".into());
    let expected: DownloadsConfig = serde_json::from_value(numbered.clone()).expect("it is one");
    let knobs = numbered.as_object_mut().expect("it is an object");
    knobs.insert("watchPath".to_owned(), "/watch".into());
    knobs.insert("completedPath".to_owned(), "/done".into());
    let text = format!(r#"{{"downloads": {numbered}}}"#);
    let engine = config(&text).downloads.expect("there is a block").engine;
    assert_eq!(engine, expected);
    assert_eq!(engine.on_exists, OnExists::Rename);
}

#[test]
fn hooks_are_read_and_the_variables_of_secrets_are_known() {
    let config = config(
        r#"{"hooks": {"onComplete": "a; b"}, "regrip": {"apiKey": {"env": "KEY"}}, "peers": [{"url": "http://a", "name": "A"}]}"#,
    );
    assert_eq!((config.hooks.on_complete.as_deref(), config.hooks.on_fail), (Some("a; b"), None));
    assert_eq!(config.secret_variables, ["KEY"]);
}

#[test]
fn relative_paths_begin_at_the_folder_of_the_file() {
    let text = r#"{"downloads": {"watchPath": "in", "completedPath": "../out"}, "regrip": {"dataDir": "data"}, "share": ["films"]}"#;
    let config = config(text);
    let downloads = config.downloads.expect("there is a block");
    assert_eq!(downloads.watch.as_deref(), Some(Path::new("/etc/regrip/in")));
    assert_eq!(downloads.completed, Path::new("/etc/regrip/../out"));
    assert_eq!(config.server.data_dir.as_deref(), Some(Path::new("/etc/regrip/data")));
    assert_eq!(config.share, [Path::new("/etc/regrip/films")]);
}

// S31
#[test]
fn a_peer_has_an_id_by_its_url_and_a_key_that_no_header_overrides() {
    let text = r#"{"peers": [{
        "name": "Anna",
        "url": "http://peer.example:5225",
        "apiKey": "right",
        "headers": {"X-Extra": "1", "x-api-key": "wrong"},
    }]}"#;
    let loaded = read(text).expect("it is one");
    let peer = &loaded.config.peers[0];
    assert_eq!((peer.name.as_str(), peer.id.as_str()), ("Anna", "6a7d8929"));
    let names: Vec<_> = peer.headers.iter().map(|header| header.name()).collect();
    assert_eq!(names, ["x-api-key", "x-extra"]);
    assert_eq!(peer.credentials().origin.to_string(), "http://peer.example:5225");
    let told: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(told, ["line 5: peers[0].headers.x-api-key: is ignored: the apiKey is sent"]);
}

#[test]
fn servers_are_radarr_or_sonarr() {
    let text = r#"{"servers": [
        {"type": "radarr", "url": "http://nas/radarr", "apiKey": "a", "importPath": "/downloads"},
        {"type": "sonarr", "name": "Series", "url": "http://nas/sonarr", "apiKey": "b"},
    ]}"#;
    let servers = config(text).import_servers;
    assert_eq!(servers[0].kind, ImportServerKind::Radarr);
    assert_eq!(servers[0].name, "radarr");
    assert_eq!(servers[0].import_path.as_deref(), Some("/downloads"));
    assert_eq!(servers[1].kind, ImportServerKind::Sonarr);
    assert_eq!((servers[1].name.as_str(), servers[1].import_path.as_deref()), ("Series", None));
}

#[test]
fn the_name_of_a_server_may_be_any_text_in_lines() {
    let named = |name: &str| {
        let servers = format!(r#"{{"type": "radarr", "url": "http://nas", "name": "{name}"}}"#);
        format!(r#"{{"servers": [{servers}]}}"#)
    };
    for name in [r#"4K; \"HDR\": it's"#, r"a\r\nb", " ; "] {
        let servers = config(&named(name)).import_servers;
        let wanted: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        assert_eq!(servers[0].name, wanted);
    }
    for name in ["", " ", r"\n", r"\u0000", r"\u001b[2J"] {
        let refused = errors(&named(name)).join(", ");
        assert!(refused.contains("expected a name"), "{name}: {refused}");
    }
}

#[test]
fn keys_that_are_not_known_are_named_and_passed_over() {
    let text = r#"{
        "jack": {"port": 5225, "tmdbApiKey": "a"},
        "downloads": {"watchPath": "/watch", "completedPath": "/done", "maxConcurentDownloads": 9},
        "peers": [
            {"url": "http://peer.example", "autoregister": true}
        ],
        "servers": [
            {"type": "radarr", "url": "http://nas", "sources": "a", "destinations": {"b": []}}
        ]
    }"#;
    let loaded = read(text).expect("it is one");
    let engine = loaded.config.downloads.expect("there is a block").engine;
    assert_eq!(engine, defaults());
    let told: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    let expected = [
        "line 2: jack.port: is unknown and is ignored",
        "line 2: jack.tmdbApiKey: is not used by regrip and is ignored",
        "line 3: downloads.maxConcurentDownloads: is unknown and is ignored",
        "line 5: peers[0].autoregister: is unknown and is ignored",
        "line 8: servers[0].sources: is unknown and is ignored",
        "line 8: servers[0].destinations: is unknown and is ignored",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_server_registers_everywhere_unless_it_is_told_not_to() {
    let text = r#"{
        "downloads": {"completedPath": "/done", "blocklistFailed": false, "importPollIntervalMs": 1000, "unlinkImportedFiles": true},
        "regrip": {"internalUrl": "http://regrip:5225/base"},
        "servers": [
            {"type": "radarr", "url": "http://nas"},
            {"type": "sonarr", "url": "http://nas", "destination": false, "autoregister": {"enable": false, "priority": 50}}
        ]
    }"#;
    let config = read(text).expect("it is one").config;
    let downloads = config.downloads.expect("there is a block");
    assert_eq!((downloads.blocklist_failed, downloads.unlink_imported_files), (false, true));
    assert_eq!(downloads.import_poll_interval.as_millis(), 1000);
    assert_eq!(config.server.internal_url.as_deref(), Some("http://regrip:5225/base"));
    let read = config.import_servers.iter().map(|server| (server.destination, server.autoregister));
    let (by_default, off) = (Autoregister { enable: true, priority: 1 }, Autoregister { enable: false, priority: 50 });
    assert_eq!(read.collect::<Vec<_>>(), [(true, by_default), (false, off)]);
    let wrong = |block: &str, knob: &str| errors(&text.replace(block, knob)).join(", ");
    for (block, knob, says) in [
        (
            r#""importPollIntervalMs": 1000"#,
            r#""importPollIntervalMs": 999"#,
            "downloads.importPollIntervalMs: found 999",
        ),
        (
            r#""blocklistFailed": false"#,
            r#""blocklistFailed": "no""#,
            "downloads.blocklistFailed: found a string of 2 characters, expected true or false",
        ),
        (
            r#""priority": 50"#,
            r#""priority": 51"#,
            "servers[1].autoregister.priority: found 51, expected a number from 1 to 50",
        ),
        (r#""priority": 50"#, r#""priority": 0"#, "servers[1].autoregister.priority"),
        (r#"{"enable": false, "priority": 50}"#, "true", "servers[1].autoregister: found"),
        ("http://regrip:5225/base", "regrip:5225", "regrip.internalUrl: found"),
        ("http://regrip:5225/base", "http://u:secret@regrip", "regrip.internalUrl: found"),
    ] {
        let refused = wrong(block, knob);
        assert!(refused.contains(says) && !refused.contains("secret"), "{knob}: {refused}");
    }
}

#[test]
fn who_serves_others_without_a_key_is_warned() {
    for (block, warned) in [
        (r#"{"listen": "0.0.0.0:5225"}"#, true),
        (r#"{"listen": "[::]:1"}"#, true),
        (r#"{"listen": "0.0.0.0:5225", "apiKey": "a"}"#, false),
        (r#"{"listen": "[::1]:5225"}"#, false),
        (r#"{}"#, false),
    ] {
        let loaded = read(&format!(r#"{{"regrip": {block}}}"#)).expect(block);
        assert_eq!(!loaded.warnings.is_empty(), warned, "{block}");
    }
}

#[test]
fn a_rate_and_permissions_are_read_as_the_command_reads_them() {
    let read_with = |knob: &str| {
        let text = format!(r#"{{"downloads": {{"completedPath": "/done", {knob}}}}}"#);
        let downloads = read(&text).expect("it is one").config.downloads.expect("there is a block");
        (downloads.limit_rate.map(u64::from), downloads.file_mode)
    };
    assert_eq!(read_with(r#""digest": "md5""#), (None, None));
    assert_eq!(read_with(r#""limitRate": 500"#), (Some(500), None));
    assert_eq!(read_with(r#""limitRate": "2M", "fileMode": "0640""#), (Some(2 << 20), Some(0o640)));
    assert_eq!(read_with(r#""fileMode": "664""#), (None, Some(0o664)));
    for (knob, says) in [
        (r#""limitRate": 0"#, "downloads.limitRate: found"),
        (r#""limitRate": -1"#, "downloads.limitRate: found"),
        (r#""limitRate": "fast""#, "bytes per second"),
        (r#""limitRate": "99999999999999999999G""#, "bytes per second"),
        (r#""limitRate": true"#, "downloads.limitRate: found"),
        (r#""fileMode": 640"#, "downloads.fileMode: found"),
        (r#""fileMode": "888""#, "permissions in octal"),
        (r#""fileMode": "0440""#, "permissions in octal"),
        (r#""fileMode": "4755""#, "permissions in octal"),
        (r#""fileMode": """#, "permissions in octal"),
    ] {
        let refused = errors(&format!(r#"{{"downloads": {{"completedPath": "/done", {knob}}}}}"#)).join(", ");
        assert!(refused.contains(says), "{knob}: {refused}");
    }
}
