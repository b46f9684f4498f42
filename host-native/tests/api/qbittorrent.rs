//! The download client's API: who is let in. What it does is tested by `tests/download-client`.

use crate::support::{Bench, KEY, Reply};

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
fn wrong_passwords_of_the_download_client_are_slowed() {
    let bench = Bench::new();
    let statuses: Vec<u16> = (0..40).map(|_| log_in(&bench, "wrong").status).collect();
    assert!(statuses.starts_with(&[200; 30]) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(log_in(&bench, KEY).text(), "Ok.");
}
