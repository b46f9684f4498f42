//! The table of `list`: a line for each download, below it where from and where to, and the reason if it waits or failed.

use super::Moment;
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
