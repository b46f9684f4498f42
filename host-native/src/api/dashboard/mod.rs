//! The files of the dashboard, embedded as they are. `README.md` beside them says what they ask of the API.
//!
//! Invariant: the policy in [`POLICY`] holds for every file: no inline script, no inline style, nothing from
//! elsewhere.

use super::{Api, Handled};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use std::sync::Arc;

/// For the header of that name, on every file.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A file of the dashboard.
#[derive(Clone, Copy, Debug)]
struct File {
    /// Its name in `/dashboard/{file}`.
    name: &'static str,
    /// `Content-Type`.
    content_type: &'static str,
    /// What it holds.
    text: &'static str,
}

/// The page itself, at `/`.
const INDEX: File =
    File { name: "index.html", content_type: "text/html; charset=utf-8", text: include_str!("index.html") };

/// The file of that name.
fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

macro_rules! files {
    ($($content_type:literal: $($name:literal)*;)*) => {
        &[$($(File { name: $name, content_type: $content_type, text: include_str!($name) },)*)*]
    };
}

const FILES: &[File] = files! {
    "text/css; charset=utf-8": "dashboard.css";
    "text/javascript; charset=utf-8":
        "adding.js" "api.js" "dashboard.js" "elements.js" "events.js" "known.js" "login.js" "pages.js" "removing.js" "row.js"
        "selecting.js" "sides.js" "speed.js" "stream.js" "timeline.js" "words.js";
};

pub(super) async fn index<L: NativeLedger>(_: Arc<Api<L>>, _: Asked) -> Handled {
    Ok(served(&INDEX))
}

pub(super) async fn file<L: NativeLedger>(_: Arc<Api<L>>, asked: Asked) -> Handled {
    find(asked.captured()).map(served).ok_or_else(|| Refusal::not_found("the dashboard has no file of this name"))
}

fn served(file: &File) -> Reply {
    let payload = Payload::Bytes(Bytes::from_static(file.text.as_bytes()));
    Reply::new(StatusCode::OK, payload)
        .header(CONTENT_TYPE, HeaderValue::from_static(file.content_type))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the files that a text asks for: `from "./x.js"`, `href="dashboard/x"`, `src="dashboard/x"`.
    fn asked_for(text: &str) -> Vec<&str> {
        ["from \"./", "=\"dashboard/"]
            .into_iter()
            .flat_map(|mark| text.split(mark).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn every_file_that_is_asked_for_is_there_and_every_other_is_asked_for() {
        let mut asked: Vec<&str> = asked_for(INDEX.text);
        asked.extend(FILES.iter().flat_map(|file| asked_for(file.text)));
        asked.sort_unstable();
        asked.dedup();
        let mut there: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        there.sort_unstable();
        assert_eq!(asked, there);
        assert!(find("dashboard.js").is_some());
        assert!(find("../mod.rs").is_none());
    }

    #[test]
    fn nothing_in_the_page_breaks_its_own_policy() {
        for forbidden in ["style=", "onclick=", "onerror=", "<style", "<script>", "javascript:"] {
            assert!(!INDEX.text.contains(forbidden), "{forbidden}");
        }
        for file in FILES {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!file.text.contains(forbidden), "{forbidden} in {}", file.name);
            }
        }
    }
}
