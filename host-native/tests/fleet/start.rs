//! Databases that a server does not start on, and those that it does.

use crate::house::wait_until;
use crate::postgres::{Schema, server};
use crate::support::{Fleet, KEY, Worker};
use serde_json::json;
use std::process::Command;

/// The exit code of a server with this ledger, and what it said.
fn refused(fleet: &Fleet, url: &str) -> (Option<i32>, String) {
    let house = fleet.house(url);
    let mut served = house.begin();
    let code = served.ended().code();
    let text = served.log.text();
    assert!(!text.contains("secret") && !text.contains("a%20"), "{text}");
    (code, text)
}

#[test]
fn a_database_that_cannot_be_used_is_refused_at_once_and_its_password_is_not_shown() {
    let fleet = Fleet::new(0, 0);
    let url = fleet.schema.url();
    let port = url.split(['@', '/']).nth(3).and_then(|at| at.split(':').nth(1)).unwrap().to_owned();
    let cases = [
        (url.replace("a%20secret", "another%20secret"), 2, "password authentication failed"),
        (url.replace("/regrip?", "/nothing%20here?"), 2, "does not exist"),
        (url.replace(&format!(":{port}/"), ":1/"), 3, "cannot reach 127.0.0.1:1/regrip"),
        (url.replace("127.0.0.1", "no-such-host.invalid"), 3, "cannot reach no-such-host.invalid"),
        (url.replace(&format!(":{port}/"), ":secret/"), 2, "regrip.ledger.postgres"),
        (format!("{url}&sslmode=secret"), 2, "regrip.ledger.postgres"),
        ("mysql://me:secret@127.0.0.1/regrip".to_owned(), 2, "expected postgres://"),
    ];
    for (url, code, what) in cases {
        let (exit, text) = refused(&fleet, &url);
        assert_eq!(exit, Some(code), "{what}: {text}");
        assert!(text.contains(what), "{what}: {text}");
    }
}

#[test]
fn a_database_of_another_program_and_one_of_a_newer_version_are_left_as_they_are() {
    let fleet = Fleet::new(0, 0);
    fleet.schema.execute("CREATE TABLE films (title TEXT)");
    let (code, text) = refused(&fleet, &fleet.schema.url());
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("database of another program"), "{text}");
    let tables = "SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = current_schema()";
    assert_eq!(fleet.schema.execute(tables), "films");

    let fleet = Fleet::new(0, 0);
    drop(fleet.schema.open());
    fleet.schema.execute("UPDATE regrip_schema SET version = 77");
    let (code, text) = refused(&fleet, &fleet.schema.url());
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("schema 77"), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let fleet = Fleet::new(0, 0);
    let cases = [
        ("downloads", "completedPathIsShared", json!(false), "downloads.completedPathIsShared"),
        ("regrip", "ledger", json!({ "postgres": fleet.schema.url(), "leaseMs": 500 }), "2000 to 3600000 ms"),
        ("regrip", "ledger", json!({ "leaseMs": 5000 }), "regrip.ledger.postgres"),
        ("regrip", "ledger", json!({ "postgres": { "env": "NO_SUCH_VARIABLE" } }), "regrip.ledger.postgres"),
    ];
    for (block, key, value, what) in cases {
        let mut house = fleet.house(&fleet.schema.url());
        house.config[block][key] = value;
        let mut served = house.begin();
        assert_eq!(served.ended().code(), Some(2), "{what}");
        assert!(served.log.text().contains(what), "{what}: {}", served.log.text());
    }
}

#[test]
fn the_database_is_spoken_to_over_tls_and_its_certificate_is_checked_if_asked_for() {
    let fleet = Fleet::new(0, 0);
    let ca = std::env::var("REGRIP_TEST_POSTGRES_CA").unwrap();
    let encrypted = |mode: &str| {
        let name = format!("mode {mode}");
        let url = format!("{}&application_name={}&sslmode={mode}", fleet.schema.url(), name.replace(' ', "%20"));
        let worker = Worker::start(fleet.house(&url));
        let select = "SELECT bool_and(ssl)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)";
        let ssl = fleet.schema.execute(&format!("{select} WHERE application_name = '{name}'"));
        worker.served.stop();
        ssl == "true"
    };
    assert_eq!(["disable", "prefer", "require"].map(encrypted), [false, true, true]);
    let verified = |host: &str, more: &str| {
        let url = format!("{}&sslmode=verify-full{more}", fleet.schema.url()).replace("127.0.0.1", host);
        let house = fleet.house(&url);
        let mut served = house.begin();
        let mut text = String::new();
        wait_until("it starts or refuses to", || {
            text = served.log.text();
            text.contains("listening at") || text.contains("cannot open the ledger")
        });
        match text.contains("listening at") {
            true => served.stop(),
            false => assert_eq!(served.ended().code(), Some(3), "{text}"),
        }
        text
    };
    let trusted = verified("localhost", &format!("&sslrootcert={ca}"));
    assert!(trusted.contains("listening at"), "{trusted}");
    let unknown = verified("localhost", "");
    assert!(unknown.contains("certificate"), "{unknown}");
    let misnamed = verified("127.0.0.1", &format!("&sslrootcert={ca}"));
    assert!(misnamed.contains("certificate"), "{misnamed}");
}

#[test]
fn workers_that_start_at_once_make_the_tables_once() {
    let schema = Schema::new();
    assert!(server().starts_with("postgres://"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(schema.open()));
        }
    });
    assert_eq!(schema.execute("SELECT version FROM regrip_schema"), "3");
}

#[test]
fn a_worker_needs_no_more_rights_than_the_example_grants() {
    let fleet = Fleet::new(1, 0);
    // Names of their own: roles and databases are those of the whole server.
    let name = fleet.schema.execute("SELECT current_schema()");
    let grants = include_str!("../../../examples/fleet/grants.sql");
    let grants = grants.replace("regrip_", &format!("{name}_")).replace("DATABASE regrip", &format!("DATABASE {name}"));
    let file = fleet.path("grants.sql");
    std::fs::write(&file, grants.replace("connect regrip", &format!("connect {name}"))).unwrap();
    let variables = ["ON_ERROR_STOP=1", "worker_password=w", "owner_password=o"].map(|set| format!("--set={set}"));
    let ran = Command::new("psql").arg("--no-psqlrc").args(variables).arg("--file").arg(&file).arg(server()).output();
    let ran = ran.expect("psql starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    std::fs::remove_file(file).unwrap();
    let at = server().split('@').nth(1).and_then(|at| at.split('/').next()).unwrap().to_owned();
    let url = |role: &str, password: &str| format!("postgres://{name}_{role}:{password}@{at}/{name}");
    let (code, text) = refused(&fleet, &url("worker", "w"));
    assert_eq!(code, Some(3), "it makes tables: {text}");
    Worker::start(fleet.house(&url("owner", "o"))).served.stop();
    let worker = Worker::start(fleet.house(&url("worker", "w")));
    worker.add(&fleet, 0);
    wait_until("it is complete", || worker.get("/api/downloads/1")["status"] == "completed");
    fleet.assert_is(0);
    assert_eq!(worker.get("/api/workers")["workers"][0]["state"], "working");
    let (status, key) = worker.post("/api/keys", &json!({ "name": "a friend" }));
    assert!(matches!(status, 200 | 201), "{key}");
    let (status, removed) = worker.served.exchange_body("DELETE", "/api/downloads/1", &[("X-Api-Key", KEY)], "");
    assert_eq!(status, 204, "{removed}");
}
