//! Files of folders, served as they are: the page that a test in a browser, or a demo, opens.
//!
//! They come with the strictest policy that a page with WebAssembly can have. Invariant: nothing outside the folders is
//! served, also by a link. They are neither logged nor slowed down.

use std::fs;
use std::path::{Path, PathBuf};

use crate::honest;
use crate::reply::{Op, Reply};
use crate::request::Request;

/// What a page may do: no script but the server's own and compiled WebAssembly, no inline style.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src *; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of a folder.
const INDEX: &str = "index.html";

/// Folders and the paths they are served at. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    folders: Vec<(String, PathBuf)>,
}

impl Pages {
    /// The same with one more folder, at a path that begins and ends with `/`.
    #[must_use]
    pub fn folder(mut self, at: &str, folder: &Path) -> Self {
        self.folders.push((at.to_owned(), folder.to_owned()));
        self
    }

    /// The answer to a request for one of the files; none if there is no such file.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return None;
        }
        let (file, name) =
            self.folders.iter().find_map(|(at, folder)| find(folder, request.path().strip_prefix(at.as_str())?))?;
        let bytes = fs::read(file).ok()?;
        let mut reply = honest::plain(request, 200, "", None);
        reply.set_header("Content-Type", media_type(&name));
        reply.set_header("Content-Length", bytes.len().to_string());
        reply.add_header("Content-Security-Policy", POLICY);
        reply.add_header("X-Content-Type-Options", "nosniff");
        reply.add_header("Cache-Control", "no-store");
        if request.method == "GET" {
            reply.body = vec![Op::Raw(bytes)];
        }
        Some(reply)
    }
}

/// The file that a path names, below the folder, and its name.
fn find(folder: &Path, path: &str) -> Option<(PathBuf, String)> {
    let path = if path.is_empty() || path.ends_with('/') { format!("{path}{INDEX}") } else { path.to_owned() };
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(&path).canonicalize().ok()?;
    (file.starts_with(&folder) && file.is_file()).then_some((file, path))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This crate's own folder.
    fn pages() -> Pages {
        Pages::default().folder("/src/", &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
    }

    #[test]
    fn a_file_comes_with_its_type_and_the_policy() {
        let reply = pages().answer(&Request::get("/src/faults/mod.rs?x=1"));
        let reply = reply.expect("it is there");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("Content-Type"), Some("application/octet-stream"));
        let policy = reply.header("Content-Security-Policy").unwrap_or_default();
        assert!(policy.contains("'wasm-unsafe-eval'") && !policy.contains("unsafe-inline"));
        assert_eq!(reply.payload_len().to_string(), { reply.header("Content-Length").unwrap_or_default() });
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let table = [
            "/src/../Cargo.toml",
            "/src/..",
            "/src//etc/passwd",
            "/src/faults",
            "/src/faults/",
            "/src/missing.rs",
            "/Cargo.toml",
            "/src",
        ];
        for path in table {
            assert!(pages().answer(&Request::get(path)).is_none(), "{path}");
        }
        assert!(pages().answer(&Request::new("POST", "/src/lib.rs")).is_none());
    }

    #[test]
    fn a_head_has_no_body() {
        let reply = pages().answer(&Request::new("HEAD", "/src/lib.rs"));
        assert_eq!(reply.expect("it is there").payload_len(), 0);
    }

    #[test]
    fn types_are_those_that_browsers_insist_on() {
        let table = [
            ("a.js", "text/javascript; charset=utf-8"),
            ("core_bg.wasm", "application/wasm"),
            ("index.html", "text/html; charset=utf-8"),
            ("README", "application/octet-stream"),
        ];
        for (name, wanted) in table {
            assert_eq!(media_type(name), wanted, "{name}");
        }
    }
}
