//! Who is let in.

use crate::support::{Bench, How, KEY};

/// A path of each kind that needs a key.
const KEYED: [&str; 7] =
    ["/api/downloads", "/api/downloads/1", "/api/stubs", "/api/peers", "/api/events", "/metrics", "/openapi.json"];

fn open_to_this_machine() -> Bench {
    Bench::how(How { key: None, ..How::default() })
}

#[test]
fn without_the_key_nothing_is_told_not_even_which_paths_there_are() {
    let bench = Bench::new();
    let wrong = [
        String::new(),
        "X-Api-Key: wrong\r\n".to_owned(),
        "X-Api-Key: \r\n".to_owned(),
        format!("X-Api-Key: {KEY}x\r\n"),
        format!("X-Api-Key: {KEY}\r\nX-Api-Key: {KEY}\r\n"),
        format!("Authorization: Bearer {KEY}\r\n"),
        format!("Cookie: regrip_session={KEY}\r\n"),
        "Cookie: regrip_session=\r\n".to_owned(),
    ];
    for headers in &wrong {
        for path in KEYED.iter().chain(&["/nothing", "/api/../api/downloads"]) {
            let reply = bench.with("GET", path, headers, "");
            assert_eq!((reply.status, reply.code().as_str()), (401, "Unauthorized"));
        }
        assert_eq!(bench.with("PATCH", "/api/peers", headers, "").status, 401);
        assert_eq!(bench.with("DELETE", "/api/downloads/1", headers, "").status, 401);
    }
    for path in KEYED {
        if path != "/api/events" {
            assert_ne!(bench.get(path).status, 401, "{path}");
        }
    }
}

#[test]
fn a_key_in_the_url_opens_nothing() {
    let bench = Bench::new();
    for name in ["apikey", "api_key", "X-Api-Key", "key", "token"] {
        let path = format!("/api/downloads?{name}={KEY}");
        assert_eq!(bench.with("GET", &path, "", "").status, 401, "{name}");
    }
}

#[test]
fn ping_is_open_and_says_nothing_but_ok() {
    for bench in [Bench::new(), open_to_this_machine()] {
        let reply = bench.with("GET", "/ping", "Host: evil.example\r\n", "");
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"OK"}"#));
        assert_eq!(bench.with("HEAD", "/ping", "", "").status, 200);
    }
}

#[test]
fn the_page_is_open_and_no_other_site_can_frame_or_script_it() {
    let bench = Bench::new();
    for path in ["/", "/dashboard/dashboard.js", "/dashboard/dashboard.css"] {
        let reply = bench.with("GET", path, "", "");
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains(KEY));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(bench.with("GET", "/dashboard/../mod.rs", "", "").status, 401);
    assert_eq!(bench.with("GET", "/dashboard/mod.rs", "", "").status, 404);
    // A link on another site leads here all the same.
    let link = "Sec-Fetch-Site: cross-site\r\n";
    assert_eq!(bench.with("GET", "/", link, "").status, 200);
}

#[test]
fn a_session_is_opened_by_the_key_and_is_a_cookie_that_no_script_reads() {
    let bench = Bench::new();
    let log_in = |key: &str| {
        let body = format!(r#"{{"key":"{key}"}}"#);
        bench.with("POST", "/api/session", "Content-Type: application/json\r\n", &body)
    };
    let refused = log_in("wrong");
    assert_eq!((refused.status, refused.code().as_str()), (401, "Unauthorized"));
    assert_eq!(refused.header("set-cookie"), None);
    let reply = log_in(KEY);
    assert_eq!(reply.status, 204);
    let cookie = reply.header("set-cookie").unwrap();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(KEY));
    let pair = cookie.split(';').next().unwrap();
    let session = format!("Cookie: other=1; {pair}\r\n");
    let get = |headers: &str| bench.with("GET", "/api/downloads", headers, "").status;
    assert_eq!(get(&session), 200);
    assert_eq!(get(&format!("{session}Origin: http://localhost\r\n")), 200);
    assert_eq!(get(&format!("{session}Sec-Fetch-Site: same-origin\r\n")), 200);
    assert_eq!(get(&format!("{session}Origin: http://evil.example\r\n")), 403);
    assert_eq!(get(&format!("{session}Origin: null\r\n")), 403);
    assert_eq!(get(&format!("{session}Sec-Fetch-Site: cross-site\r\n")), 403);
    assert_eq!(get(&format!("{session}Sec-Fetch-Site: same-site\r\n")), 403);
    // A wrong key is not made good by a cookie.
    assert_eq!(get(&format!("{session}X-Api-Key: wrong\r\n")), 401);

    let reply = bench.with("DELETE", "/api/session", &session, "");
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(get(&session), 401);
}

#[test]
fn behind_tls_the_cookie_is_secure_and_the_origin_is_https() {
    let bench = Bench::new();
    let headers = "Host: regrip.example\r\nOrigin: https://regrip.example\r\nX-Forwarded-Proto: https\r\n\
                   Content-Type: application/json\r\n";
    let body = format!(r#"{{"key":"{KEY}"}}"#);
    let reply = bench.with("POST", "/api/session", headers, &body);
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").unwrap().ends_with("; Secure"));
}

#[test]
fn without_a_key_only_this_machine_under_its_own_name_is_served() {
    let bench = open_to_this_machine();
    let own = format!("Host: {}\r\n", bench.address);
    let table = [
        ("", 200),
        (own.as_str(), 200),
        ("Host: evil.example\r\n", 403),
        ("Host: localhost.evil.example\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
    ];
    for (headers, status) in table {
        for path in ["/api/downloads", "/", "/api/peers"] {
            let reply = bench.with("GET", path, headers, "");
            // The page itself may be linked to.
            let linked = path == "/" && headers.starts_with("Sec-");
            let status = if linked { 200 } else { status };
            assert_eq!(reply.status, status, "{path} {headers}");
        }
    }
}

#[test]
fn a_form_of_another_page_does_nothing() {
    let bench = open_to_this_machine();
    let url = "http://127.0.0.1:9/film";
    for kind in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        "application/jsonx",
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        let body = format!(r#"{{"url":"{url}"}}"#);
        let reply = bench.with("POST", "/api/downloads", &headers, &body);
        assert_eq!((reply.status, reply.code().as_str()), (415, "NotJson"), "{kind}");
        let reply = bench.with("POST", "/api/downloads/1/cancel", &headers, "a=b");
        assert_eq!(reply.status, 415, "{kind}");
    }
    let body = format!(r#"{{"url":"{url}"}}"#);
    assert_eq!(bench.with("POST", "/api/downloads", "", &body).status, 415);
    let none = bench.json("/api/downloads");
    assert_eq!(none["downloads"].as_array().unwrap().len(), 0);
}

#[test]
fn without_a_key_there_is_nothing_to_log_in_to() {
    let bench = open_to_this_machine();
    let reply = bench.post("/api/session", r#"{"key":"anything"}"#);
    assert_eq!((reply.status, reply.header("set-cookie")), (204, None));
}

#[test]
fn unknown_paths_and_methods_are_told_in_one_form() {
    let bench = Bench::new();
    for path in ["/nothing", "/api", "/api/", "/api/downloads/", "//", "/api/downloads/1/x"] {
        let reply = bench.get(path);
        assert_eq!((reply.status, reply.code().as_str()), (404, "NotFound"), "{path}");
    }
    let table = [
        ("PUT", "/api/downloads", "GET, HEAD, POST"),
        ("PATCH", "/api/downloads/1", "GET, HEAD, DELETE"),
        ("GET", "/api/downloads/1/retry", "POST"),
        ("POST", "/ping", "GET, HEAD"),
        ("OPTIONS", "/api/session", "POST, DELETE"),
    ];
    for (method, path, allowed) in table {
        let reply = bench.ask(method, path);
        assert_eq!((reply.status, reply.code().as_str()), (405, "MethodNotAllowed"));
        assert_eq!(reply.header("allow"), Some(allowed));
    }
}

#[test]
fn a_peers_key_opens_the_peer_wire_alone_and_the_servers_key_the_api_alone() {
    const PEER: &str = "the-key-of-a-friend";
    let bench = Bench::how(How { shared_with: Some(PEER), ..How::default() });
    let status = |key: &str, path: &str| {
        let headers = format!("X-Api-Key: {key}\r\n");
        bench.with("GET", path, &headers, "").status
    };
    let wire = ["/handshake", "/peer/search", "/peer/items/x", "/peer/nothing"];
    for path in wire {
        assert_ne!(status(PEER, path), 401, "{path}");
        assert_eq!(status(KEY, path), 401, "{path}");
    }
    for path in KEYED.iter().chain(&["/nothing", "/peer", "//peer/search"]) {
        assert_eq!(status(PEER, path), 401, "{path}");
    }
    assert_eq!(status(KEY, "/api/downloads"), 200);
    let body = format!(r#"{{"key":"{PEER}"}}"#);
    let headers = "Content-Type: application/json\r\n";
    assert_eq!(bench.with("POST", "/api/session", headers, &body).status, 401);
}
