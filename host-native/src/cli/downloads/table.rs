//! The table of `list`: a line for each download, below it where from and where to, and the reason if it waits or failed.
//!
//! `show` prints one of them with its attempts.

use super::Moment;
use super::backend::{Shown, Writer};
use crate::cli::output::Layout;
use crate::cli::text;
use crate::ledger::Download;
use regrip_core::Status;

/// A file's name is not made narrower than this as long as other columns can be left out.
const NAME: usize = 20;
/// Between two columns.
const GAP: &str = "  ";
/// Before what is below a line.
const INDENT: &str = "    ";

/// The columns beside the name, which is the third one.
const HEAD: [&str; 5] = ["ID", "STATUS", "BYTES", "ATTEMPTS", "LAST CHANGE"];

/// The columns that are shown: the first of these that leaves the name enough room.
const SHAPES: [&[usize]; 4] = [&[0, 1, 2, 3, 4], &[0, 1, 2, 4], &[0, 1, 2], &[0, 1]];

/// The lines of the table.
pub(super) fn table(downloads: &[Download], now: Moment, layout: Layout) -> Vec<String> {
    if downloads.is_empty() {
        return Vec::new();
    }
    let width = layout.width.unwrap_or(usize::MAX);
    let head = ("FILE".to_owned(), HEAD.map(str::to_owned), Vec::new());
    let rows = downloads.iter().map(|download| {
        let name = text::plain(&download.filename);
        let mut below = vec![from_to(download, width.saturating_sub(INDENT.len()), layout)];
        below.extend(note(download, now));
        (name, cells(download, now), below)
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let longest = |cells: &mut dyn Iterator<Item = &String>| {
        let widths = cells.map(|cell| console::measure_text_width(cell));
        widths.max().unwrap_or_default()
    };
    let widths: [usize; 5] =
        std::array::from_fn(|column| longest(&mut rows.iter().map(|(_, cells, _)| &cells[column])));
    let beside = |columns: &[usize]| -> usize { columns.iter().map(|column| widths[*column] + GAP.len()).sum() };
    let columns = SHAPES.into_iter().find(|columns| beside(columns) + NAME <= width).unwrap_or(&[0, 1]);
    let room = width.saturating_sub(beside(columns)).max(1);
    let name_width = longest(&mut rows.iter().map(|(name, ..)| name)).min(room);
    let mut lines = Vec::new();
    for (name, cells, below) in &rows {
        let cells = columns.iter().map(|column| match column {
            0 | 3 => format!("{:>1$}", cells[*column], widths[*column]),
            _ => text::pad(&cells[*column], widths[*column]),
        });
        let mut cells: Vec<String> = cells.collect();
        let name = text::shorten(name, name_width, layout);
        cells.insert(2, text::pad(&name, name_width));
        lines.push(text::cut(cells.join(GAP).trim_end(), width, layout));
        lines.extend(below.iter().map(|line| text::cut(&format!("{INDENT}{line}"), width, layout)));
    }
    lines
}

fn cells(download: &Download, now: Moment) -> [String; 5] {
    let changed = now.since(&download.updated_at).map(text::ago);
    [
        download.id.to_string(),
        download.status.name().to_owned(),
        bytes(download),
        download.attempts.to_string(),
        changed.unwrap_or_default(),
    ]
}

/// `https://host/film.mkv → /films/film.mkv`; in less room the host, and the folder, because the file's name is in the line above.
fn from_to(download: &Download, width: usize, layout: Layout) -> String {
    let (url, path) = (text::plain(&download.url), text::plain(&download.dest_path));
    let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split('/').next().unwrap_or_default();
    let folder = path.rfind('/').and_then(|slash| path.get(..=slash)).unwrap_or(&path);
    let arrow = if layout.unicode { " → " } else { " -> " };
    let all =
        [(url.as_str(), path.as_str()), (host, &path), (host, folder)].map(|(from, to)| format!("{from}{arrow}{to}"));
    let fits = all.iter().find(|line| console::measure_text_width(line) <= width);
    fits.cloned().unwrap_or_else(|| {
        let room = width.saturating_sub(console::measure_text_width(arrow));
        let from = text::shorten(host, room / 2, layout);
        let left = room.saturating_sub(console::measure_text_width(&from));
        format!("{from}{arrow}{}", text::shorten(folder, left, layout))
    })
}

/// The reason why a download waits or failed.
fn note(download: &Download, now: Moment) -> Option<String> {
    let why = match download.status {
        Status::Waiting => {
            let until = download.waiting_until.as_deref().and_then(|at| now.until(at));
            let why = download.waiting_why.as_deref().unwrap_or("between attempts");
            format!("next attempt {}: {why}", text::in_a_while(until.unwrap_or_default()))
        }
        Status::Failed => download.error.clone()?,
        _ => return None,
    };
    Some(text::plain(&why))
}

/// `24.0 MB` for a complete file, `75% of 24.0 MB` for a partial one, `18.0 MB` if its size is unknown.
fn bytes(download: &Download) -> String {
    let whole = download.status.is_complete();
    match download.expected_bytes {
        Some(total) if !whole => {
            format!("{}% of {}", text::percent(download.downloaded_bytes, total), text::bytes(total))
        }
        Some(_) | None => text::bytes(download.downloaded_bytes),
    }
}

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

    fn at(width: usize) -> Layout {
        Layout { width: Some(width), unicode: true }
    }

    fn three() -> [Download; 3] {
        let mut waiting = download(12, "a.film.with.a.rather.long.name.s01e02.mkv", Status::Waiting);
        waiting.waiting_until = Some("2026-10-20T12:00:12.000Z".to_owned());
        waiting.waiting_why = Some("the server answered 503".to_owned());
        waiting.expected_bytes = Some(24_000_000);
        waiting.downloaded_bytes = 18_000_000;
        waiting.attempts = 3;
        let mut failed = download(7, "b.iso", Status::Failed);
        failed.error = Some("the server answered 404\u{1b}[2J".to_owned());
        failed.attempts = 1;
        let mut done = download(5, "c.iso", Status::Completed);
        done.expected_bytes = Some(700_000_000);
        done.downloaded_bytes = 700_000_000;
        done.attempts = 1;
        done.updated_at = "2026-10-18T11:00:00.000Z".to_owned();
        [waiting, failed, done]
    }

    #[test]
    fn the_table_fits_the_terminal_and_drops_what_matters_least() {
        let table = |width| table(&three(), now(), at(width));
        assert_eq!(
            table(100),
            [
                "ID  STATUS     FILE                                       BYTES           ATTEMPTS  LAST CHANGE",
                "12  waiting    a.film.with.a.rather.long.name.s01e02.mkv  75% of 24.0 MB         3  1 min ago",
                "    example.org → /films/a.film.with.a.rather.long.name.s01e02.mkv",
                "    next attempt in 12 s: the server answered 503",
                " 7  failed     b.iso                                      0 B                    1  1 min ago",
                "    https://example.org/b.iso → /films/b.iso",
                "    the server answered 404?[2J",
                " 5  completed  c.iso                                      700 MB                 1  2 d ago",
                "    https://example.org/c.iso → /films/c.iso",
            ]
        );
        assert_eq!(
            table(60),
            [
                "ID  STATUS     FILE                           BYTES",
                "12  waiting    a.film.with.a.rathe…01e02.mkv  75% of 24.0 MB",
                "    example.org → /films/",
                "    next attempt in 12 s: the server answered 503",
                " 7  failed     b.iso                          0 B",
                "    https://example.org/b.iso → /films/b.iso",
                "    the server answered 404?[2J",
                " 5  completed  c.iso                          700 MB",
                "    https://example.org/c.iso → /films/c.iso",
            ]
        );
        assert_eq!(
            table(40)[..4],
            [
                "ID  STATUS     FILE",
                "12  waiting    a.film.with.a.ra…1e02.mkv",
                "    example.org → /films/",
                "    next attempt in 12 s: the server an…",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_without_one_nothing_is_cut() {
        for width in 1..120 {
            for line in table(&three(), now(), at(width)) {
                assert!(console::measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
        let layout = Layout { width: None, unicode: false };
        assert!(table(&three(), now(), layout)[1].contains("a.film.with.a.rather.long.name.s01e02.mkv"));
        assert_eq!(table(&[], now(), layout), [""; 0]);
    }
}

#[cfg(test)]
mod show_tests {
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
