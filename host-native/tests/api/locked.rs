//! A ledger that another program keeps locked.

use crate::support::{Bench, until};
use regrip_faultd::{Content, FileScript, Script, Server, Version};
use serde_json::json;

#[test]
fn with_the_ledger_locked_what_is_there_is_shown_and_changes_are_refused_until_it_is_free() {
    let bench = Bench::new();
    let film = || FileScript::honest(Version::new(1, 1000).etag("\"v1\""));
    let source = Server::start(Script::one("/a.mkv", film()).file("/b.mkv", film())).unwrap();
    let id = bench.add(&source.url("/a.mkv"));
    bench.until(id, "completed");
    let lock = rusqlite::Connection::open(bench.folder.path().join("state.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let body = json!({ "url": source.url("/b.mkv") }).to_string();
    for _ in 0..2 {
        let refused = bench.post("/api/downloads", &body);
        let found = (refused.status, refused.code());
        assert_eq!(found, (503, "LedgerBusy".to_owned()), "{}", refused.text());
        assert_eq!(refused.header("retry-after"), Some("5"));
        // Many at once: none waits behind what is written.
        for _ in 0..20 {
            let list = bench.json("/api/downloads");
            assert_eq!(list["downloads"][0]["status"], "completed");
            assert_eq!(bench.json(&format!("/api/downloads/{id}"))["id"], id);
        }
        assert_eq!(bench.get("/metrics").status, 200);
    }

    lock.execute_batch("ROLLBACK").unwrap();
    // What was begun is done now, and the same request again is the same download.
    let added = until(|| {
        let list = bench.json("/api/downloads");
        let newest = list["downloads"][0].clone();
        (newest["filename"] == "b.mkv").then_some(newest)
    });
    let reply = bench.post("/api/downloads", &body);
    assert_eq!((reply.status, &reply.json()["id"]), (200, &added["id"]));
    bench.until(added["id"].as_i64().unwrap(), "completed");
    let bytes = std::fs::read(bench.file("b.mkv")).unwrap();
    assert_eq!(bytes, Content::new(1, 1000).bytes(0..1000));
}
