//! The download client's API: who is let in. What it does is tested by `tests/download-client`.

use crate::support::{Bench, How, KEY, Reply};

fn log_in(bench: &Bench, password: &str) -> Reply {
    let body = format!("username=radarr&password={password}");
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    bench.with("POST", "/api/v2/auth/login", headers, &body)
}

#[test]
fn a_session_of_the_download_client_is_opened_by_the_key_and_ended_by_logout() {
    let bench = Bench::new();
    let get = |headers: &str| bench.with("GET", "/api/v2/app/webapiVersion", headers, "");
    assert_eq!((get("").status, get("").text()), (403, "Forbidden".to_owned()));
    let wrong = log_in(&bench, "wrong");
    assert_eq!((wrong.status, wrong.text()), (200, "Fails.".to_owned()));
    assert_eq!(wrong.header("set-cookie"), None);
    let right = log_in(&bench, KEY);
    assert_eq!((right.status, right.text()), (200, "Ok.".to_owned()));
    let cookie = right.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(KEY), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(get(&cookie).text(), "2.11.4");
    assert_eq!(get(&format!("{cookie}Origin: http://elsewhere.test\r\n")).status, 401);
    assert_eq!(bench.with("GET", "/api/downloads", &cookie, "").status, 401);
    assert_eq!(bench.with("GET", "/api/v2/torrents/delete?hashes=all", &cookie, "").status, 405);
    assert_eq!(bench.with("GET", "/api/v2/rss/items", &cookie, "").status, 404);
    assert_eq!(bench.with("POST", "/api/v2/auth/logout", &cookie, "").status, 200);
    assert_eq!(get(&cookie).status, 403);
}

#[test]
fn the_session_of_the_dashboard_opens_the_download_client_to_its_own_page_only() {
    let bench = Bench::new();
    let body = format!(r#"{{"key": "{KEY}"}}"#);
    let reply = bench.with("POST", "/api/session", "Content-Type: application/json\r\n", &body);
    let cookie = reply.header("set-cookie").expect("a session").split(';').next().unwrap_or_default().to_owned();
    let status = |headers: &str| bench.with("GET", "/api/v2/app/version", headers, "").status;
    for (headers, wanted) in [
        (format!("Cookie: {cookie}\r\n"), 200),
        (format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n"), 200),
        (format!("Cookie: {cookie}\r\nSec-Fetch-Site: cross-site\r\n"), 401),
        (format!("Cookie: {cookie}\r\nOrigin: http://elsewhere.example\r\n"), 401),
        (format!("Cookie: {cookie}0\r\n"), 403),
        ("Cookie: regrip_session=\r\n".to_owned(), 403),
    ] {
        assert_eq!(status(&headers), wanted, "{headers}");
    }
    bench.with("DELETE", "/api/session", &format!("Cookie: {cookie}\r\n"), "");
    assert_eq!(status(&format!("Cookie: {cookie}\r\n")), 403);
}

#[test]
fn wrong_passwords_of_the_download_client_are_slowed() {
    let bench = Bench::new();
    let statuses: Vec<u16> = (0..40).map(|_| log_in(&bench, "wrong").status).collect();
    assert!(statuses.starts_with(&[200; 30]) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(log_in(&bench, KEY).text(), "Ok.");
}

#[test]
fn without_a_key_the_download_client_answers_this_machine_under_its_own_name_only() {
    let bench = Bench::how(How { key: None, ..How::default() });
    let get = |headers: &str| bench.with("GET", "/api/v2/app/version", headers, "").status;
    assert_eq!(get(""), 200);
    for forged in [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Origin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "X-Forwarded-For: 10.0.0.1\r\n",
    ] {
        assert!(matches!(get(forged), 401 | 403), "{forged}");
    }
}

#[test]
fn a_session_outlives_log_ins_by_the_thousand() {
    let bench = Bench::new();
    let log_in = |program: &str| {
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\nUser-Agent: {program}\r\n");
        bench.with("POST", "/api/v2/auth/login", &headers, &format!("password={KEY}"))
    };
    let cookie = log_in("Radarr").header("set-cookie").unwrap().to_owned();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let status = || bench.with("GET", "/api/v2/app/version", &cookie, "").status;
    assert_eq!(status(), 200);
    for _ in 0..1000 {
        assert_eq!(log_in("a loop").status, 200);
    }
    assert_eq!(status(), 200);
}
