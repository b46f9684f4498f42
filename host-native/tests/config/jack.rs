//! Configurations of jack, as its documentation published them over time, work unchanged.

use crate::support::read;
use regrip::config::{Autoregister, Config, ImportServerKind, Problem};
use std::path::Path;

const NONE: [&str; 0] = [];

/// What a configuration means, and which warnings it has. Every variable that it names is set.
fn jacks(text: &str, warned: &[&str]) -> Config {
    let env = |name: &str| Some(format!("value-of-{name}"));
    let loaded = regrip::config::parse(text, Path::new("/config"), &env);
    let loaded = loaded.unwrap_or_else(|refused| panic!("{text}: {refused:#?}"));
    let warnings: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(warnings, warned, "{text}");
    loaded.config
}

#[test]
fn the_full_example_of_its_reference_is_read() {
    let config = jacks(
        r#"{
  "jack": {
    "internalUrl": "http://jack:5225",
    "tmdbApiKey": { "env": "TMDB_API_KEY" },
    "external": {
      "instanceName": "Roz's Jack",
      "url": "https://jack.example.com",
      "headers": {
        "CF-Access-Client-Id": { "env": "MY_CF_CLIENT_ID" },
        "CF-Access-Client-Secret": { "env": "MY_CF_CLIENT_SECRET" }
      }
    }
  },
  "downloads": {
    "completedPath": "/data/torrents/completed",
    "maxConcurrentDownloads": 3
  },
  "servers": [
    {
      "name": "Main Radarr",
      "type": "radarr",
      "url": "http://radarr:7878",
      "apiKey": { "env": "RADARR_API_KEY" },
      "source": true,
      "destination": true,
      "autoregister": {
        "enable": true,
        "priority": 1
      }
    },
    {
      "name": "Main Sonarr",
      "type": "sonarr",
      "url": "http://sonarr:8989",
      "apiKey": { "env": "SONARR_API_KEY" }
    }
  ],
  "peers": [
    {
      "name": "friend",
      "url": "https://their-jack.example.com",
      "apiKey": { "env": "FRIEND_JACK_API_KEY" },
      "headers": {
        "CF-Access-Client-Id": { "env": "FRIEND_CF_CLIENT_ID" },
        "CF-Access-Client-Secret": { "env": "FRIEND_CF_CLIENT_SECRET" }
      }
    }
  ]
}"#,
        &["line 4: jack.tmdbApiKey: is not used by regrip and is ignored"],
    );
    assert_eq!(config.server.internal_url.as_deref(), Some("http://jack:5225"));
    assert!(config.server.is_jacks && config.server.api_key.is_none());
    let external = config.server.external.unwrap();
    assert_eq!(
        (external.instance_name.as_deref(), external.url.as_str()),
        (Some("Roz's Jack"), "https://jack.example.com")
    );
    let headers: Vec<_> = external.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    let wanted = [
        ("CF-Access-Client-Id", "value-of-MY_CF_CLIENT_ID"),
        ("CF-Access-Client-Secret", "value-of-MY_CF_CLIENT_SECRET"),
    ];
    assert_eq!(headers, wanted);
    let downloads = config.downloads.unwrap();
    assert_eq!((downloads.watch, downloads.completed.as_path()), (None, Path::new("/data/torrents/completed")));
    let roles = config.import_servers.iter().map(|server| (server.source, server.destination, server.autoregister));
    assert_eq!(roles.collect::<Vec<_>>(), [(true, true, Autoregister::default()); 2], "both is jack's default");
    assert_eq!(config.peers[0].headers.len(), 3);
}

#[test]
fn every_key_of_its_downloads_block_is_known() {
    let config = jacks(
        r#"{
  "version": 2,
  "jack": { "internalUrl": "http://jack:5225" },
  "downloads": {
    "completedPath": "/data/completed",
    "maxConcurrentDownloads": 3.0,
    "maxDownloadAttempts": 13,
    "retryBaseDelayMs": 1000,
    "retryMaxDelayMs": 1.8e6,
    "idleTimeoutMs": 60000,
    "importPollIntervalMs": 45000,
    "maxManualImportAttempts": 6,
    "manualImportBackoffBaseMs": 60000,
    "manualImportBackoffMaxMs": 1800000,
    "unlinkImportedFiles": true
  },
  "servers": [{ "name": "R", "type": "radarr", "url": "http://r", "apiKey": "0123456789abcdef0123456789abcdef",
                "source": false, "destination": false, "autoregister": { "enable": false, "priority": 7 } }]
}"#,
        &[
            "line 12: downloads.maxManualImportAttempts: is not used by regrip and is ignored",
            "line 13: downloads.manualImportBackoffBaseMs: is not used by regrip and is ignored",
            "line 14: downloads.manualImportBackoffMaxMs: is not used by regrip and is ignored",
        ],
    );
    let downloads = config.downloads.unwrap();
    let engine = &downloads.engine;
    assert_eq!((engine.max_concurrent_downloads, engine.max_download_attempts), (3, 13));
    assert_eq!(engine.retry_max_delay_ms, 1_800_000);
    assert_eq!((downloads.import_poll_interval.as_millis(), downloads.unlink_imported_files), (45_000, true));
    let server = &config.import_servers[0];
    assert!(!server.source && !server.destination);
    assert_eq!(server.autoregister, Autoregister { enable: false, priority: 7 });
}

#[test]
fn the_file_that_it_writes_at_its_first_start_is_read_with_every_name_of_the_url() {
    for (block, url) in [
        (r#""jack": { "internalUrl": "http://jack:5225" }"#, "http://jack:5225"),
        (r#""jack": { "baseUrl": "http://jack:5225", "apiKey": { "env": "JACK_API_KEY" } }"#, "http://jack:5225"),
        (r#""jack": { "baseUrl": "http://old:1", "internalUrl": "http://jack:5225" }"#, "http://jack:5225"),
    ] {
        let config = jacks(&format!(r#"{{ "version": 1, {block}, "servers": [], "peers": [] }}"#), &NONE);
        assert_eq!(config.server.internal_url.as_deref(), Some(url));
    }
    jacks(r#"{ "servers": [], "peers": [] }"#, &NONE);
}

#[test]
fn its_configuration_with_a_watch_folder_is_read() {
    let config = jacks(
        r#"{
  "jack": {
    "baseUrl": "http://jack:5225",
    // Shared secret that protects your /torznab and /peer endpoints.
    "apiKey": { "env": "JACK_API_KEY" }
  },
  "downloads": {
    "watchPath": "/data/torrents/watch",
    "completedPath": "/data/torrents/completed"
  },
  "servers": [
    {
      "type": "radarr",
      "url": "http://radarr:7878",
      "apiKey": { "env": "RADARR_API_KEY" },
      "headers": { "X-Forwarded-User": "jack" },
      "source": true,
      "destination": true,
      "autoregister": { "enable": true, "priority": 1 }
    },
    { "type": "sonarr", "url": "http://sonarr:8989", "apiKey": "0123456789abcdef0123456789abcdef" }
  ],
  "peers": [{ "name": "friend", "url": "https://their-jack.example.com", "apiKey": "their-shared-secret" }]
}"#,
        &NONE,
    );
    assert_eq!(config.server.api_key.unwrap().reveal(), "value-of-JACK_API_KEY");
    assert_eq!(config.downloads.unwrap().watch.as_deref(), Some(Path::new("/data/torrents/watch")));
    assert_eq!((config.import_servers.len(), config.peers.len()), (2, 1));
}

#[test]
fn its_first_configuration_with_servers_by_role_is_read() {
    let config = jacks(
        r#"{
  "jack": {
    "baseUrl": "http://jack:3000",
    "apiKey": "change-me-to-a-long-random-string",
    "mediaPath": "/data/media"
  },
  "indexer": { "priority": 2, "autoRegister": false },
  "downloads": { "watchPath": "/data/torrents/watch", "completedPath": "/data/torrents/completed" },
  "servers": {
    "sources": [
      { "type": "jellyfin", "url": "http://jellyfin:8096", "apiKey": "..." }
    ],
    "peers": [{ "name": "friend", "url": "https://their-jack.example.com", "apiKey": "..." }],
    "destinations": [
      { "type": "radarr", "url": "http://radarr:7878", "apiKey": "0123456789abcdef0123456789abcdef" },
      { "type": "sonarr", "url": "http://sonarr:8989", "apiKey": "0123456789abcdef0123456789abcdef" }
    ]
  }
}"#,
        &[
            "line 5: jack.mediaPath: is not used by regrip and is ignored",
            "line 11: servers.sources[0]: is not used by regrip and is ignored: servers that share are Radarr and Sonarr",
        ],
    );
    let kinds: Vec<_> = config.import_servers.iter().map(|server| server.kind).collect();
    assert_eq!(kinds, [ImportServerKind::Radarr, ImportServerKind::Sonarr]);
    for server in &config.import_servers {
        assert!(!server.source && server.destination);
        assert_eq!(server.autoregister, Autoregister { enable: false, priority: 2 });
    }
    assert_eq!(config.peers[0].name, "friend");
    jacks(r#"{ "servers": { "sources": [], "destinations": [] } }"#, &NONE);
}

#[test]
fn what_jack_refuses_in_its_external_block_is_refused() {
    let external = |block: &str| format!(r#"{{"jack": {{"internalUrl": "http://j", "external": {block}}}}}"#);
    let table = [
        (r#"{}"#, "jack.external.url: found nothing"),
        (r#"{"url": "file:///etc/passwd"}"#, "neither http nor https"),
        (r#"{"url": "https://user:hush@a.example"}"#, "user or password"),
        (r#"{"url": "https://a.example", "instanceName": " "}"#, "expected a name"),
        (r#"{"url": "https://a.example", "headers": {"Host": "hush"}}"#, "host is set by regrip itself"),
        (r#"{"url": "https://a.example", "headers": {"A": "hush", "a": "hush"}}"#, "there twice"),
        (r#"{"url": "https://a.example", "headers": {"A": "hush\r\nB: c"}}"#, "visible ASCII"),
    ];
    for (block, why) in table {
        let wrong = crate::support::errors(&external(block)).join("; ");
        assert!(wrong.contains(why) && !wrong.contains("hush"), "{block}: {wrong}");
    }
}

#[test]
fn in_a_configuration_of_regrip_no_library_is_shared_unasked() {
    let text = r#"{"regrip": {}, "jack": {"internalUrl": "http://j"}, "servers": [
        {"type": "radarr", "url": "http://r"},
        {"type": "sonarr", "url": "http://s", "source": true, "destination": true,
         "pathMapping": {"/tv": "/srv/tv", "D:\\tv": "more"}}
    ]}"#;
    let loaded = read(text).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(warnings, ["line 1: jack: is ignored: the regrip block is read"]);
    let servers = loaded.config.import_servers;
    assert!(!servers[0].source && servers[1].source);
    let here = |path: &str| Path::new(path).to_owned();
    let wanted = [("/tv".to_owned(), here("/srv/tv")), ("D:\\tv".to_owned(), here("/etc/regrip/more"))];
    assert_eq!(servers[1].path_mapping, wanted);
    let wrong = crate::support::errors(
        r#"{"servers": [{"type": "radarr", "url": "http://r", "source": "yes", "pathMapping": {"films": "/f"},
            "autoregister": {"priority": 0}}]}"#,
    );
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}
