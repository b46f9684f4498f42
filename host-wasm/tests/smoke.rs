//! The core on wasm32, in Node: `host-wasm/build --smoke`. What the package does is tested on the package.
#![cfg(target_arch = "wasm32")]

use regrip_core::http::parse_retry_after;
use regrip_core::testing::{FakeHost, Served, new_download};
use regrip_core::{DownloadsConfig, Engine};
use std::time::{Duration, UNIX_EPOCH};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let served = Served::new(content.clone()).etag("\"v1\"");
    let host = FakeHost::serving(served.cut_after(100_000));
    let clock = host.clock.clone();
    let engine = Engine::new(host, DownloadsConfig::default(), true).unwrap();
    let new = new_download("http://peer.example/film.mkv", "/films/film.mkv");
    let ended = clock.run(async {
        let accepted = engine.accept(new).await?;
        engine.drive(accepted.id).await
    });
    assert_eq!(ended.unwrap().unwrap().attempts, 2);
    let host = engine.host();
    assert_eq!(host.store.file("/films/film.mkv"), Some(content));
    assert_eq!(host.transport.requests()[1].first, Some(100_000));
}

#[wasm_bindgen_test]
fn a_date_is_a_delay() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
    let delay = parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now);
    assert_eq!(delay, Some(Duration::from_secs(7)));
}
