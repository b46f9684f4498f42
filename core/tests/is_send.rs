//! The host's types decide if a download may cross threads: with those of the fake host, and so with any host
//! whose types are `Send`, its future is.

use regrip_core::testing::{FakeHost, Served, new_download};
use regrip_core::{DownloadsConfig, Engine};

fn assert_send<T: Send>(_: T) {}
fn assert_send_and_sync<T: Send + Sync>() {}

#[test]
fn the_futures_of_a_host_that_is_send_are_send() {
    assert_send_and_sync::<Engine<FakeHost>>();
    let host = FakeHost::serving(Served::new(Vec::new()));
    let engine = Engine::new(host, DownloadsConfig::default(), true).expect("the defaults are in range");
    assert_send(engine.drive(1));
    assert_send(engine.accept(new_download("http://peer.example/a", "/a")));
    assert_send(engine.cancel(1));
    assert_send(engine.retry(1));
    assert_send(engine.remove(1));
    assert_send(engine.recover());
}
