//! The facts that `show` prints above the timeline.

use super::Moment;
use super::backend::{Shown, Writer};
use crate::cli::output::Layout;
use crate::cli::text;
use crate::ledger::Download;
use regrip_core::Status;

/// Facts with their names, one below the other; then the timeline.
pub(super) fn show(shown: &Shown, now: Moment, layout: Layout) -> Vec<String> {
    let download = &shown.download;
    let mut lines = vec![format!("download {}: {}", download.id, standing(shown, now))];
    for (name, value) in facts(download, now) {
        // Paths and URLs are not broken: they are copied from here.
        lines.push(format!("  {name:<9} {}", text::plain(&value)));
    }
    lines.push(String::new());
    lines.extend(super::timeline::timeline(&shown.attempts, shown.writer.is_some(), &download.updated_at, now, layout));
    lines
}

/// The status, and who drives it.
fn standing(shown: &Shown, now: Moment) -> String {
    let download = &shown.download;
    let status = download.status.name();
    match (download.status, shown.writer) {
        (Status::Downloading | Status::Committing, Some(Writer::Process(pid))) => {
            format!("{status}, by process {pid}")
        }
        (Status::Downloading | Status::Committing, Some(Writer::Server)) => {
            format!("{status}, by the server")
        }
        (Status::Downloading | Status::Committing, None) => {
            format!("{status}, but its process ended; run its `regrip get` again to resume")
        }
        (Status::Waiting, _) => {
            let until = download.waiting_until.as_deref();
            let left = until.and_then(|at| now.until(at)).unwrap_or_default();
            format!("{status}, next attempt {}", text::in_a_while(left))
        }
        (Status::Paused, _) => format!("{status}; `regrip resume {}` resumes it", download.id),
        _ => status.to_owned(),
    }
}

fn facts(download: &Download, now: Moment) -> Vec<(&'static str, String)> {
    let mut facts = vec![("file", download.dest_path.clone()), ("from", from(download))];
    let whole = download.status.is_complete();
    if !whole {
        facts.push(("part", download.part_path.clone()));
    }
    facts.push(("size", size(download)));
    if !whole {
        facts.push(("so far", so_far(download)));
    }
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("etag", download.etag.clone());
    add("modified", download.last_modified.clone());
    for digest in &download.digests {
        let name = digest.algorithm.name();
        match (&digest.got, &digest.wanted) {
            (Some(got), Some(wanted)) if got == wanted => {
                add(name, Some(format!("{got}, as {} says", digest.source.title())));
            }
            (got, wanted) => {
                add(name, got.clone());
                let by = digest.source.title();
                add(name, wanted.as_ref().map(|wanted| format!("{wanted} by {by}")));
            }
        }
    }
    for mirror in &download.mirrors {
        add("mirror", Some(mirror.clone()));
    }
    if !download.header_names.is_empty() {
        let names = download.header_names.join(", ");
        add("needs", Some(format!("{names} (the values are not kept)")));
    }
    add("counts", Some(counts(download)));
    add("added", Some(moment(&download.created_at, now)));
    add("changed", Some(moment(&download.updated_at, now)));
    add("imported", download.import_state.clone());
    add("waits for", download.waiting_why.clone());
    match download.status {
        Status::Completed | Status::ImportQueued | Status::Imported => add("warning", download.error.clone()),
        _ => add("error", error(download)),
    }
    facts
}

fn from(download: &Download) -> String {
    match (&download.peer_name, &download.item_id) {
        (Some(peer), Some(item)) => format!("item {item} of peer {peer} ({})", download.url),
        _ => download.url.clone(),
    }
}

fn size(download: &Download) -> String {
    let mismatch = match download.release_size {
        Some(release) if download.expected_bytes_mismatch => {
            format!("; {release} were announced")
        }
        _ => String::new(),
    };
    let Some(bytes) = download.expected_bytes else {
        return match download.status {
            Status::Completed | Status::ImportQueued | Status::Imported => {
                format!("{}{mismatch}", exact(download.downloaded_bytes))
            }
            _ => "unknown so far".to_owned(),
        };
    };
    let source = download.expected_bytes_source.map(|source| format!(", by {}", source.name())).unwrap_or_default();
    format!("{}{source}{mismatch}", exact(bytes))
}

fn so_far(download: &Download) -> String {
    let bytes = text::bytes(download.downloaded_bytes);
    let share = download.expected_bytes.map(|total| format!(", {}%", text::percent(download.downloaded_bytes, total)));
    let durable = match download.durable_bytes {
        durable if durable >= download.downloaded_bytes => String::new(),
        durable => format!(", {} of it safe from a power cut", text::bytes(durable)),
    };
    format!("{bytes}{}{durable}", share.unwrap_or_default())
}

fn counts(download: &Download) -> String {
    format!("{}, {}", text::count(download.attempts, "attempt"), text::count(download.restarts, "restart"))
}

fn exact(bytes: u64) -> String {
    if bytes < 1000 {
        return text::bytes(bytes);
    }
    format!("{} ({bytes} bytes)", text::bytes(bytes))
}

fn moment(at: &str, now: Moment) -> String {
    let ago = now.since(at).map(text::ago).unwrap_or_default();
    format!("{} UTC, {ago}", text::day_and_time(at))
}

fn error(download: &Download) -> Option<String> {
    let error = download.error.as_ref()?;
    let code = download.error_code.as_deref().unwrap_or("error");
    let class = download.error_class.as_deref().unwrap_or_default();
    Some(format!("{class} {code}: {error}").trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{download, now};
    use super::*;

    #[test]
    fn everything_known_is_said_once() {
        let mut waiting = download(3, "film.mkv", Status::Waiting);
        waiting.waiting_until = Some("2026-10-20T12:00:12.000Z".to_owned());
        waiting.waiting_why = Some("the server answered 503".to_owned());
        waiting.expected_bytes = Some(24_000_000);
        waiting.expected_bytes_source = regrip_core::record::SizeSource::named("content_length");
        waiting.downloaded_bytes = 18_000_000;
        waiting.durable_bytes = 16_000_000;
        waiting.header_names = vec!["authorization".to_owned()];
        let shown = Shown { download: waiting, attempts: Vec::new(), writer: None };
        let layout = Layout { width: Some(80), unicode: true };
        assert_eq!(
            show(&shown, now(), layout),
            [
                "download 3: waiting, next attempt in 12 s",
                "  file      /films/film.mkv",
                "  from      https://example.org/film.mkv",
                "  part      /films/film.mkv.part",
                "  size      24.0 MB (24000000 bytes), by content_length",
                "  so far    18.0 MB, 75%, 16.0 MB of it safe from a power cut",
                "  needs     authorization (the values are not kept)",
                "  counts    0 attempts, 0 restarts",
                "  added     2026-10-20 11:00:00 UTC, 1 h ago",
                "  changed   2026-10-20 11:59:00 UTC, 1 min ago",
                "  waits for the server answered 503",
                "",
                "no attempt yet",
            ]
        );
    }

    #[test]
    fn who_is_at_it_is_said() {
        let shown = |status, writer| Shown { download: download(3, "film.mkv", status), attempts: Vec::new(), writer };
        let table = [
            (Status::Downloading, Some(Writer::Process(77)), "downloading, by process 77"),
            (Status::Downloading, Some(Writer::Server), "downloading, by the server"),
            (Status::Downloading, None, "its process ended"),
            (Status::Queued, None, "queued"),
            (Status::Cancelled, None, "cancelled"),
        ];
        for (status, writer, words) in table {
            assert!(standing(&shown(status, writer), now()).contains(words));
        }
    }
}
