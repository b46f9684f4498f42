//! Decides what to do with a requested download, given the rows of its destination.

use crate::event::without_query;
use crate::record::{DownloadId, NewDownload, Row, Source, Status};

/// An accepted download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its row.
    pub id: DownloadId,
    /// `true` if the row existed before.
    pub known: bool,
    /// `true` if no row for its destination existed before.
    pub is_first: bool,
}

/// From which other URL an inactive download may continue, if that URL proves to serve the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewUrl {
    /// None: another URL is another download.
    Refused,
    /// A URL that differs only in its query, for example in a signature.
    SamePath,
    /// Any URL.
    Any,
}

/// What to do with a requested download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is running already.
    Known(DownloadId),
    /// Retry this failed or cancelled row.
    Retry(DownloadId),
    /// Insert a new row.
    New,
    /// Continue this row from the new URL, if its bytes prove to be those of the same file.
    Move(DownloadId),
    /// The destination belongs to another source.
    Busy(DownloadId),
}

/// Decides from the rows of the destination, newest first.
///
/// If there are several unfinished rows of this source, the one with the most durable bytes is used. A failed or cancelled row of
/// another source keeps the destination as long as it has a part, so that its partial data is not discarded. The new URL
/// may still be one for the same file, if `new_url` allows it.
pub fn admission(rows: &[Row], new: &NewDownload, new_url: NewUrl) -> Admission {
    let other = |row: &Row| match may_move(row, new, new_url) {
        true => Admission::Move(row.id),
        false => Admission::Busy(row.id),
    };
    let same = |row: &&Row| row.new.is_same(&new.source, &new.mirrors);
    let unfinished = || rows.iter().filter(|row| !row.status.is_finished());
    if let Some(row) = unfinished().filter(same).max_by_key(|row| row.durable) {
        return Admission::Known(row.id);
    }
    if let Some(row) = unfinished().next() {
        return other(row);
    }
    match rows.iter().find(|row| matches!(row.status, Status::Failed | Status::Cancelled) && row.claimed) {
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

/// Returns `true` if a row may continue from the new URL.
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

/// Returns `true` if two URLs differ at most in query and fragment.
pub(crate) fn same_but_for_query(one: &str, other: &str) -> bool {
    without_query(one) == without_query(other)
}

/// The headers that the partial data was requested with and that the new request lacks. Without partial data nothing can be
/// lost, so the caller may leave out headers.
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
