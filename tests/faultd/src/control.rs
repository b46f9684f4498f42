//! The server's own paths, for tests in other languages: read the log, play another script, replace a file, cut
//! the lines.
//!
//! | request | does |
//! |---|---|
//! | `GET /_faultd/log` | the log as a JSON array |
//! | `POST /_faultd/script` | plays the script in the body from its beginning and clears the log |
//! | `POST /_faultd/replace?path=/a&version=1` | makes the file that version, from 0 |
//! | `POST /_faultd/cut` | ends every answer under way, as a broken line would |
//! | `POST /_faultd/go` | ends the pauses of every answer under way, also one that it has not reached yet |
//!
//! They are neither logged nor slowed down.

use crate::honest;
use crate::reply::{Op, Reply};
use crate::request::Request;
use crate::script::Script;
use crate::site::Site;

/// What every control path begins with.
pub const PREFIX: &str = "/_faultd/";

/// The answer to a control request; none if the path is not the server's own.
pub fn answer(site: &Site, request: &Request) -> Option<Reply> {
    let name = request.path().strip_prefix(PREFIX)?;
    Some(match (request.method.as_str(), name) {
        ("OPTIONS", _) => honest::preflight(request, None),
        ("GET", "log") => log(site, request),
        ("POST", "script") => script(site, request),
        ("POST", "replace") => replace(site, request),
        ("POST", "cut") => {
            site.cut_all();
            honest::plain(request, 200, "cut\n", None)
        }
        ("POST", "go") => {
            site.go_on();
            honest::plain(request, 200, "going on\n", None)
        }
        _ => honest::plain(request, 404, "there are GET log, POST script, POST replace, POST cut, POST go\n", None),
    })
}

fn log(site: &Site, request: &Request) -> Reply {
    match serde_json::to_vec(&site.log()) {
        Ok(json) => {
            let mut reply = honest::plain(request, 200, "", None);
            reply.set_header("Content-Type", "application/json");
            reply.set_header("Cache-Control", "no-store");
            reply.set_header("Content-Length", json.len().to_string());
            reply.body = vec![Op::Raw(json)];
            reply
        }
        Err(error) => honest::plain(request, 500, &format!("{error}\n"), None),
    }
}

fn script(site: &Site, request: &Request) -> Reply {
    match Script::from_json(&String::from_utf8_lossy(&request.body)) {
        Ok(script) => {
            site.restart(script);
            honest::plain(request, 200, "playing\n", None)
        }
        Err(error) => honest::plain(request, 400, &format!("{error}\n"), None),
    }
}

fn replace(site: &Site, request: &Request) -> Reply {
    let path = request.query("path").map(unescape);
    let version = request.query("version").and_then(|version| version.parse().ok());
    match (path, version) {
        (Some(path), Some(version)) if site.replace(&path, version) => honest::plain(request, 200, "replaced\n", None),
        (Some(_), Some(_)) => honest::plain(request, 404, "no such file or version\n", None),
        _ => honest::plain(request, 400, "path and version are needed\n", None),
    }
}

/// Undoes percent-encoding, as clients encode the slash of a path in a query; a broken one stays as it is.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{FileScript, Version};

    fn site() -> Site {
        Site::new(Script::one("/a", FileScript::honest(Version::new(1, 9)).version(Version::new(2, 7))))
    }

    fn post(target: &str, body: &str) -> Request {
        let mut request = Request::new("POST", target);
        request.body = body.as_bytes().to_vec();
        request
    }

    fn status(site: &Site, request: &Request) -> Option<u16> {
        answer(site, request).map(|reply| reply.status)
    }

    #[test]
    fn other_paths_are_not_the_servers_own() {
        assert!(answer(&site(), &Request::get("/a")).is_none());
    }

    #[test]
    fn the_log_comes_as_json_and_is_not_in_the_log() {
        let site = site();
        site.answer(&Request::get("/a"));
        for _ in 0..2 {
            let reply = answer(&site, &Request::get("/_faultd/log")).expect("it is a control path");
            let [Op::Raw(json)] = reply.body.as_slice() else { panic!("one body") };
            let entries: serde_json::Value = serde_json::from_slice(json).expect("it is JSON");
            assert_eq!(entries.as_array().map(Vec::len), Some(1));
            assert_eq!(entries[0]["path"], "/a");
            assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"));
        }
    }

    #[test]
    fn a_posted_script_is_played_and_a_bad_one_changes_nothing() {
        let site = site();
        assert_eq!(status(&site, &post("/_faultd/script", "{\"fils\": {}}")), Some(400));
        assert_eq!(site.answer(&Request::get("/a")).status, 200);
        let script = r#"{"files": {"/b": {"versions": [{"seed": 1, "size": 3}]}}}"#;
        assert_eq!(status(&site, &post("/_faultd/script", script)), Some(200));
        assert_eq!(site.answer(&Request::get("/a")).status, 404);
        assert_eq!(site.answer(&Request::get("/b")).payload_len(), 3);
    }

    #[test]
    fn a_file_is_replaced_by_request() {
        let site = site();
        let table = [("path=%2Fa&version=1", 200), ("path=/a&version=2", 404), ("path=/a", 400), ("version=1", 400)];
        for (query, expected) in table {
            assert_eq!(status(&site, &post(&format!("/_faultd/replace?{query}"), "")), Some(expected), "{query}");
        }
        assert_eq!(site.answer(&Request::get("/a")).payload_len(), 7);
    }

    #[test]
    fn a_page_of_another_origin_may_control() {
        assert_eq!(status(&site(), &Request::new("OPTIONS", "/_faultd/script")), Some(204));
    }

    #[test]
    fn a_broken_escape_stays() {
        assert_eq!(unescape("%2Fa%2"), "/a%2");
        assert_eq!(unescape("%zz"), "%zz");
    }
}
