//! The table of `list`: a line for each download, and one below it for what it waits for or why it failed.

use super::Moment;
use crate::cli::output::Look;
use crate::cli::text;
use crate::ledger::Download;
use regrip_core::Status;

/// A file's name is not made narrower than this as long as other columns can go.
const NAME: usize = 20;
/// Between two columns.
const GAP: usize = 2;

/// A column beside the name, left to right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Status,
    Bytes,
    Attempts,
    Changed,
}

use Column::{Attempts, Bytes, Changed, Id, Status as State};

/// What is left out on narrow terminals: the first of these that leaves the name room.
const SHAPES: [&[Column]; 4] = [
    &[Id, State, Bytes, Attempts, Changed],
    &[Id, State, Bytes, Changed],
    &[Id, State, Bytes],
    &[Id, State],
];

/// The lines of the table.
pub(super) fn table(downloads: &[Download], now: Moment, look: Look) -> Vec<String> {
    if downloads.is_empty() {
        return Vec::new();
    }
    let columns = SHAPES
        .into_iter()
        .find(|columns| fits(columns, downloads, now, look))
        .unwrap_or(SHAPES[SHAPES.len() - 1]);
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| widest(*column, downloads, now))
        .collect();
    let longest = downloads
        .iter()
        .map(|download| console::measure_text_width(&text::plain(&download.filename)))
        .max()
        .unwrap_or_default()
        .max("FILE".len());
    let name = match look.width {
        Some(width) => longest.min(width.saturating_sub(beside(&widths)).max(1)),
        None => longest,
    };
    let line = |download: Option<&Download>| {
        let file = download.map_or_else(|| "FILE".to_owned(), |d| text::plain(&d.filename));
        let mut cells: Vec<String> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| aligned(*column, download, *width, now))
            .collect();
        // After id and status.
        cells.insert(2, text::pad(&text::shorten(&file, name, look), name));
        let line = cells.join(&" ".repeat(GAP)).trim_end().to_owned();
        look.width
            .map_or_else(|| line.clone(), |width| text::cut(&line, width, look))
    };
    let mut lines = vec![line(None)];
    for download in downloads {
        lines.push(line(Some(download)));
        if let Some(note) = note(download, now) {
            let note = format!("    {note}");
            lines.push(match look.width {
                Some(width) => text::cut(&note, width, look),
                None => note,
            });
        }
    }
    lines
}

/// Why it is not further, for those that wait or failed.
fn note(download: &Download, now: Moment) -> Option<String> {
    let why = match download.status {
        Status::Waiting => {
            let until = download
                .waiting_until
                .as_deref()
                .and_then(|at| now.until(at));
            let why = download
                .waiting_why
                .as_deref()
                .unwrap_or("between attempts");
            format!(
                "next attempt {}: {why}",
                text::in_a_while(until.unwrap_or_default())
            )
        }
        Status::Failed => download.error.clone()?,
        _ => return None,
    };
    Some(text::plain(&why))
}

/// What the columns beside the name take, gaps included.
fn beside(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len()
}

fn fits(columns: &[Column], downloads: &[Download], now: Moment, look: Look) -> bool {
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| widest(*column, downloads, now))
        .collect();
    look.width
        .is_none_or(|width| beside(&widths) + NAME <= width)
}

fn widest(column: Column, downloads: &[Download], now: Moment) -> usize {
    let heads = std::iter::once(cell(column, None, now));
    let cells = downloads
        .iter()
        .map(|download| cell(column, Some(download), now));
    heads
        .chain(cells)
        .map(|cell| cell.len())
        .max()
        .unwrap_or_default()
}

fn aligned(column: Column, download: Option<&Download>, width: usize, now: Moment) -> String {
    let cell = cell(column, download, now);
    match column {
        Id | Attempts => format!("{cell:>width$}"),
        State | Bytes | Changed => text::pad(&cell, width),
    }
}

/// A cell, or the column's head.
fn cell(column: Column, download: Option<&Download>, now: Moment) -> String {
    let Some(download) = download else {
        return match column {
            Id => "ID",
            State => "STATUS",
            Bytes => "BYTES",
            Attempts => "ATTEMPTS",
            Changed => "LAST CHANGE",
        }
        .to_owned();
    };
    match column {
        Id => download.id.to_string(),
        State => download.status.name().to_owned(),
        Bytes => bytes(download),
        Attempts => download.attempts.to_string(),
        Changed => now
            .since(&download.updated_at)
            .map(text::ago)
            .unwrap_or_default(),
    }
}

/// `24.0 MB` for a whole file, `75% of 24.0 MB` for a part of one, `18.0 MB` where its size is unknown.
fn bytes(download: &Download) -> String {
    let whole = matches!(download.status, Status::Completed | Status::ImportQueued);
    match download.expected_bytes {
        Some(total) if !whole => format!(
            "{}% of {}",
            text::percent(download.downloaded_bytes, total),
            text::bytes(total)
        ),
        Some(_) | None => text::bytes(download.downloaded_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{download, now};
    use super::*;

    fn at(width: usize) -> Look {
        Look {
            width: Some(width),
            unicode: true,
        }
    }

    fn three() -> [Download; 3] {
        let mut waiting = download(
            12,
            "a.film.with.a.rather.long.name.s01e02.mkv",
            Status::Waiting,
        );
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
                "    next attempt in 12 s: the server answered 503",
                " 7  failed     b.iso                                      0 B                    1  1 min ago",
                "    the server answered 404?[2J",
                " 5  completed  c.iso                                      700 MB                 1  2 d ago",
            ]
        );
        assert_eq!(
            table(60),
            [
                "ID  STATUS     FILE                           BYTES",
                "12  waiting    a.film.with.a.rathe…01e02.mkv  75% of 24.0 MB",
                "    next attempt in 12 s: the server answered 503",
                " 7  failed     b.iso                          0 B",
                "    the server answered 404?[2J",
                " 5  completed  c.iso                          700 MB",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_without_one_nothing_is_cut() {
        for width in 1..120 {
            for line in table(&three(), now(), at(width)) {
                assert!(
                    console::measure_text_width(&line) <= width,
                    "{width}: {line}"
                );
            }
        }
        let look = Look {
            width: None,
            unicode: false,
        };
        assert!(
            table(&three(), now(), look)[1].contains("a.film.with.a.rather.long.name.s01e02.mkv")
        );
        assert_eq!(table(&[], now(), look), [""; 0]);
    }
}
