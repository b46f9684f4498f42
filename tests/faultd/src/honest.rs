//! What a correct server answers (RFC 9110 §13.1.5, §14; CORS as the Fetch standard has it).
//!
//! Pure: the date is given. Faults start from these answers and spoil them.

use std::time::SystemTime;

use crate::range::{self, Asked};
use crate::reply::{End, Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The headers that a page of another origin may read.
const EXPOSED: &str = "Content-Range, ETag, Last-Modified, Content-Length, Accept-Ranges, Retry-After, Repr-Digest";
/// The headers that a page of another origin may send.
const ALLOWED: &str = "range, if-range, authorization, x-api-key, content-type";

/// The answer to a GET or HEAD of a file that is this version now. Without a date there is no Date header.
pub fn answer(request: &Request, version: &Version, date: Option<&str>) -> Reply {
    let mut reply = Reply::new(200);
    describe(&mut reply, version, date);
    let asked = match request.method.as_str() {
        "GET" if if_range_holds(request, version) => range::asked(request.header("Range"), version.size),
        // RFC 9110 §14.2: Range is ignored with any method but GET, and if If-Range does not match.
        _ => Asked::Whole,
    };
    match asked {
        Asked::Whole => send_part(&mut reply, version, 0, version.size),
        Asked::Part { from, to } => {
            reply.status = 206;
            reply.add_header("Content-Range", range::content_range(from, to, version.size));
            send_part(&mut reply, version, from, to);
        }
        Asked::Unsatisfiable => {
            reply.status = 416;
            reply.add_header("Content-Range", format!("bytes */{}", version.size));
            send_text(&mut reply, "the range is outside the file\n");
        }
    }
    if request.method == "HEAD" {
        reply.body.clear();
    }
    close_if_asked(request, &mut reply);
    reply
}

/// An answer of one line of text and no file: 404, 401 and the like.
pub fn plain(request: &Request, status: u16, text: &str, date: Option<&str>) -> Reply {
    let mut reply = Reply::new(status);
    share(&mut reply, date);
    reply.add_header("Content-Type", "text/plain; charset=utf-8");
    send_text(&mut reply, text);
    if request.method == "HEAD" {
        reply.body.clear();
    }
    close_if_asked(request, &mut reply);
    reply
}

/// The answer to a CORS preflight.
pub fn preflight(request: &Request, date: Option<&str>) -> Reply {
    let mut reply = Reply::new(204);
    share(&mut reply, date);
    reply.add_header("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
    reply.add_header("Access-Control-Allow-Headers", ALLOWED);
    reply.add_header("Access-Control-Max-Age", "600");
    close_if_asked(request, &mut reply);
    reply
}

/// A moment as the Date header has it.
pub fn http_date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

/// RFC 9110 §13.1.5: an absent If-Range holds, a strong tag by strong comparison, a date when it is exactly
/// the Last-Modified.
fn if_range_holds(request: &Request, version: &Version) -> bool {
    let Some(condition) = request.header("If-Range") else {
        return true;
    };
    let held = if condition.starts_with('"') { &version.etag } else { &version.last_modified };
    // A weak tag begins with `W/`: it is compared with the date and never equal.
    held.as_deref() == Some(condition)
}

/// The headers that do not depend on the range.
fn describe(reply: &mut Reply, version: &Version, date: Option<&str>) {
    share(reply, date);
    let content_type = version.content_type.as_deref();
    reply.add_header("Content-Type", content_type.unwrap_or("application/octet-stream"));
    reply.add_header("Accept-Ranges", "bytes");
    if let Some(etag) = &version.etag {
        reply.add_header("ETag", etag);
    }
    if let Some(last_modified) = &version.last_modified {
        reply.add_header("Last-Modified", last_modified);
    }
    if version.sha256 {
        reply.add_header("Repr-Digest", version.repr_digest());
    }
}

/// The headers of every answer.
fn share(reply: &mut Reply, date: Option<&str>) {
    if let Some(date) = date {
        reply.add_header("Date", date);
    }
    reply.add_header("Access-Control-Allow-Origin", "*");
    reply.add_header("Access-Control-Expose-Headers", EXPOSED);
}

/// Makes the body the bytes `from..to` and says so in Content-Length.
fn send_part(reply: &mut Reply, version: &Version, from: u64, to: u64) {
    reply.set_header("Content-Length", (to - from).to_string());
    reply.body = if from < to { vec![Op::Content { content: version.content(), from, to }] } else { Vec::new() };
}

fn send_text(reply: &mut Reply, text: &str) {
    reply.set_header("Content-Length", text.len().to_string());
    reply.body = vec![Op::Raw(text.as_bytes().to_vec())];
}

fn close_if_asked(request: &Request, reply: &mut Reply) {
    if request.wants_close() {
        reply.add_header("Connection", "close");
        reply.end = End::Close;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 24 Nov 2026 15:00:00 GMT";
    const MODIFIED: &str = "Mon, 23 Nov 2026 15:00:00 GMT";

    fn version() -> Version {
        Version::new(1, 100).etag("\"v1\"").last_modified(MODIFIED)
    }

    fn sent(reply: &Reply) -> Option<(u64, u64)> {
        match reply.body.as_slice() {
            [Op::Content { from, to, .. }] => Some((*from, *to)),
            _ => None,
        }
    }

    #[test]
    fn a_plain_get_is_answered_with_the_whole_and_its_description() {
        let reply = answer(&Request::get("/a"), &version(), Some(DATE));
        assert_eq!((reply.status, sent(&reply), reply.end), (200, Some((0, 100)), End::KeepAlive));
        let headers = [
            ("Date", DATE),
            ("ETag", "\"v1\""),
            ("Last-Modified", MODIFIED),
            ("Accept-Ranges", "bytes"),
            ("Content-Length", "100"),
            ("Access-Control-Allow-Origin", "*"),
        ];
        for (name, value) in headers {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert_eq!(reply.header("Content-Range"), None);
        assert_eq!(reply.header("Repr-Digest"), None);
    }

    #[test]
    fn a_version_can_have_a_content_type_of_its_own() {
        let mut page = version();
        let of = |version: &Version| {
            let reply = answer(&Request::get("/a"), version, None);
            reply.header("Content-Type").map(str::to_owned)
        };
        assert_eq!(of(&page).as_deref(), Some("application/octet-stream"));
        page.content_type = Some("text/html".to_owned());
        assert_eq!(of(&page).as_deref(), Some("text/html"));
    }

    #[test]
    fn a_range_is_answered_with_206_and_exactly_its_bytes() {
        let reply = answer(&Request::get("/a").with("Range", "bytes=10-19"), &version(), None);
        assert_eq!((reply.status, sent(&reply)), (206, Some((10, 20))));
        assert_eq!(reply.header("Content-Range"), Some("bytes 10-19/100"));
        assert_eq!(reply.header("Content-Length"), Some("10"));
    }

    #[test]
    fn a_range_outside_the_file_is_answered_with_416_and_the_size() {
        let reply = answer(&Request::get("/a").with("Range", "bytes=100-"), &version(), None);
        assert_eq!((reply.status, reply.header("Content-Range")), (416, Some("bytes */100")));
        let empty = answer(&Request::get("/a").with("Range", "bytes=0-"), &Version::new(1, 0), None);
        assert_eq!((empty.status, empty.header("Content-Range")), (416, Some("bytes */0")));
    }

    #[test]
    fn if_range_holds_for_the_same_strong_tag_or_the_same_date_only() {
        let table = [
            ("\"v1\"", 206),
            ("\"v2\"", 200),
            ("W/\"v1\"", 200),
            (MODIFIED, 206),
            ("Mon, 23 Nov 2026 15:00:01 GMT", 200),
            ("rubbish", 200),
        ];
        for (condition, status) in table {
            let request = Request::get("/a").with("Range", "bytes=10-").with("If-Range", condition);
            assert_eq!(answer(&request, &version(), None).status, status, "{condition}");
        }
        let weak = Version::new(1, 100).etag("W/\"v1\"");
        let request = Request::get("/a").with("Range", "bytes=10-").with("If-Range", "W/\"v1\"");
        assert_eq!(answer(&request, &weak, None).status, 200);
    }

    #[test]
    fn a_head_has_the_headers_of_a_get_and_no_body() {
        let request = Request::new("HEAD", "/a").with("Range", "bytes=10-");
        let reply = answer(&request, &version(), None);
        assert_eq!((reply.status, reply.header("Content-Length"), reply.body.len()), (200, Some("100"), 0));
    }

    #[test]
    fn a_client_that_wants_the_connection_closed_gets_it_closed() {
        let reply = answer(&Request::get("/a").with("Connection", "close"), &version(), None);
        assert_eq!((reply.end, reply.header("Connection")), (End::Close, Some("close")));
    }

    #[test]
    fn a_preflight_allows_the_headers_of_a_resume() {
        let reply = preflight(&Request::new("OPTIONS", "/a"), None);
        assert_eq!((reply.status, reply.header("Access-Control-Allow-Origin")), (204, Some("*")));
        let allowed = reply.header("Access-Control-Allow-Headers").unwrap_or_default();
        assert!(["range", "if-range"].iter().all(|name| allowed.split(", ").any(|own| own == *name)));
        assert!(
            reply.header("Access-Control-Allow-Methods").is_some() && reply.header("Access-Control-Max-Age").is_some()
        );
    }

    #[test]
    fn repr_digest_is_that_of_the_whole_even_on_a_range() {
        let version = version().with_sha256();
        let whole = answer(&Request::get("/a"), &version, None);
        let part = answer(&Request::get("/a").with("Range", "bytes=5-"), &version, None);
        assert_eq!(whole.header("Repr-Digest"), Some(version.repr_digest().as_str()));
        assert_eq!(part.header("Repr-Digest"), whole.header("Repr-Digest"));
    }
}
