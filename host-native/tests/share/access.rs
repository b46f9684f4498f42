//! Who is let in.

use crate::support::{Bench, How, bytes, put};

#[test]
fn every_path_wants_a_key_and_none_shows_without_one() {
    let bench = Bench::how(How::keys("alpha\nbeta"), |films| put(&films.join("film.mkv"), &bytes(1, 10)));
    let paths =
        ["/handshake", "/peer/search", "/peer/items/x", "/peer/items/x/file", "/nothing", "/handshake?apikey=alpha"];
    for path in paths {
        for headers in ["", "X-Api-Key: alphabet\r\n", "X-Api-Key: \r\n", "X-Api-Key: alpha\r\nX-Api-Key: alpha\r\n"] {
            let reply = bench.get(path, headers);
            assert_eq!((reply.status, reply.code().as_str()), (401, "Unauthorized"), "{path} {headers:?}");
        }
    }
    for key in ["alpha", "beta"] {
        // With a key it does not matter by which name the server is known.
        let headers = format!("Host: films.example\r\nX-Api-Key: {key}\r\n");
        assert_eq!(bench.get("/handshake", &headers).status, 200);
    }
    assert_eq!(bench.get("/nothing", "X-Api-Key: alpha\r\n").status, 404);
}

#[test]
fn without_a_key_a_foreign_host_or_origin_is_refused() {
    let bench = Bench::film(b"film");
    let table = [
        ("Host: localhost:1\r\n", 200),
        ("Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1\r\n", 200),
        ("Host: films.example\r\n", 403),
        ("Host: localhost\r\nOrigin: http://films.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
    ];
    for (headers, status) in table {
        assert_eq!(bench.get("/handshake", headers).status, status, "{headers:?}");
    }
}

#[test]
fn other_methods_are_refused_with_those_that_are_not() {
    let bench = Bench::film(b"film");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"] {
        let reply = bench.connect().ask(method, "/handshake", "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}
