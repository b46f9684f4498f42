//! What an accepted download means, given the rows there are for its destination.

use crate::event::without_query;
use crate::record::{DownloadId, NewDownload, Row, Source, Status};

/// An accepted download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its row.
    pub id: DownloadId,
    /// The row was there before.
    pub known: bool,
}

/// Which other URL a download that nobody drives may go on from, if that proves to have the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewUrl {
    /// None: another URL is another download.
    Refused,
    /// One that differs only in its query, such as another signature.
    SamePath,
    /// Any.
    Any,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is under way already.
    Known(DownloadId),
    /// Take up this failed or cancelled one.
    Retry(DownloadId),
    /// A new row.
    New,
    /// Go on with this one from another URL, if its bytes prove to be the same file's.
    Move(DownloadId),
    /// Another source has the destination.
    Busy(DownloadId),
}

/// Decides, from the rows of the same destination, newest first.
///
/// Of several unfinished rows of this source, the one with most durable bytes counts. A failed or cancelled row of another
/// source that still has its part keeps the destination too: its bytes are not thrown away behind its back. The new URL may
/// still be one for the same file, as far as `new_url` allows it.
pub fn admission(rows: &[Row], new: &NewDownload, new_url: NewUrl) -> Admission {
    let other = |row: &Row| match may_move(row, new, new_url) {
        true => Admission::Move(row.id),
        false => Admission::Busy(row.id),
    };
    let same = |row: &&Row| row.new.source.is_same(&new.source);
    let unfinished = || rows.iter().filter(|row| !row.status.is_finished());
    if let Some(row) = unfinished().filter(same).max_by_key(|row| row.durable) {
        return Admission::Known(row.id);
    }
    if let Some(row) = unfinished().next() {
        return other(row);
    }
    match rows
        .iter()
        .find(|row| matches!(row.status, Status::Failed | Status::Cancelled) && row.claimed)
    {
        Some(row) if same(&row) => Admission::Retry(row.id),
        Some(row) => other(row),
        None => match rows.first() {
            Some(row) if same(&row) && matches!(row.status, Status::Failed | Status::Cancelled) => {
                Admission::Retry(row.id)
            }
            Some(_) | None => Admission::New,
        },
    }
}

/// Whether a row may go on from the new URL.
fn may_move(row: &Row, new: &NewDownload, new_url: NewUrl) -> bool {
    match (&row.new.source, &new.source) {
        (Source::Url { url: old }, Source::Url { url: new }) => {
            let allowed = match new_url {
                NewUrl::Refused => false,
                NewUrl::SamePath => same_but_for_query(old, new),
                NewUrl::Any => true,
            };
            allowed && row.status != Status::Committing
        }
        _ => false,
    }
}

/// Whether two URLs are the same but for query and fragment.
pub(crate) fn same_but_for_query(one: &str, other: &str) -> bool {
    without_query(one) == without_query(other)
}

/// Names of the headers that a row's bytes were fetched with and that it is not asked for with again. Where nothing was
/// fetched nothing can be lost, and whoever asks may leave out what did not help.
pub(super) fn missing(row: &Row, new: &NewDownload) -> Option<String> {
    if row.downloaded == 0 {
        return None;
    }
    let names = row.new.header_names.iter();
    let names = names.filter(|name| !new.header_names.contains(name));
    names.fold(None, |list, name| match list {
        Some(list) => Some(list + ", " + name),
        None => Some(name.clone()),
    })
}
