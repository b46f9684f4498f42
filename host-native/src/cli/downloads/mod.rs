//! The commands on known downloads: `list`, `show`, `retry`, `pause`, `resume`, `cancel`, `remove`; and `add`, which gives a server a new one.
//!
//! Each asks a [`Backend`], a state file or a running server, and prints the answer.

mod backend;
mod remote;
mod retry;
mod table;
mod timeline;

pub(crate) use retry::{Pause, Resume, add, resume, retry};

use super::args::{BackendArgs, KnownDownload, List, Show};
use super::output::{self, CommandResult, Exit, Layout};
use super::text;
use backend::{Backend, BackendError, StateFile};
use regrip_core::error::chain;
use regrip_core::{DownloadId, Error, Status};
use remote::RemoteError;
use retry::Which;
use serde_json::json;
use std::time::{Duration, SystemTime};

/// Calls a method of whichever backend it is.
macro_rules! ask {
    ($backend:expr, $method:ident($($arg:expr),*)) => {
        match $backend {
            Backend::File(file) => file.$method($($arg),*).await,
            #[cfg(feature = "fleet")]
            Backend::Fleet(fleet) => fleet.$method($($arg),*).await,
            Backend::Server(server) => server.$method($($arg),*).await,
        }
    };
}

/// `regrip list`
pub(crate) fn list(args: &List) -> CommandResult {
    let place = &args.place;
    let by_default = place.state.is_none() && place.server.is_none() && place.config.is_none();
    // A missing state file is an empty list, unless the user named it.
    if by_default && StateFile::is_missing() {
        say!("no downloads yet");
        return Ok(Exit::Done);
    }
    with(place, None, async |backend| {
        let downloads = ask!(backend, list(args.status))?;
        if args.json {
            let lines = downloads.iter().map(|download| json!(download).to_string());
            return Ok(print(lines));
        }
        if downloads.is_empty() {
            say!("no such downloads");
        }
        let layout = Layout::of_stdout();
        Ok(print(table::table(&downloads, Moment::now(), layout)))
    })
}

/// `regrip show`
pub(crate) fn show(args: &Show) -> CommandResult {
    let KnownDownload { id, place } = &args.known;
    with(place, Some(*id), async |backend| {
        let shown = ask!(backend, show(*id))?;
        if args.json {
            let object = json!({ "download": shown.download, "attempts": shown.attempts });
            return Ok(print([object.to_string()]));
        }
        Ok(print(table::show(&shown, Moment::now(), Layout::of_stdout())))
    })
}

/// `regrip pause`
pub(crate) fn pause(args: &Pause) -> CommandResult {
    let one = match args.which {
        Which::One(id) => Some(id),
        Which::All => None,
    };
    with(&args.place, one, async |backend| {
        let mut none_yet = true;
        loop {
            // Those that are not running first: no other one starts in the place of one that stops.
            let ids = match one {
                Some(id) => vec![id],
                None => of_statuses(backend, &[Status::Queued, Status::Waiting, Status::Downloading]).await?,
            };
            let mut again = false;
            for id in ids {
                match ask!(backend, pause(id)) {
                    Ok(paused) => {
                        let kept = text::bytes(paused.kept_bytes);
                        say!("download {id} is paused; {kept} kept, `regrip resume {id}` resumes it");
                        paused.say_writer();
                        (again, none_yet) = (one.is_none(), false);
                    }
                    // It has changed since it was listed.
                    Err(fault) if one.is_none() && fault.is_about_state() => {}
                    Err(fault) => return Err(NotDone::advised(fault, |status| not_paused(id, status))),
                }
            }
            if !again {
                break;
            }
        }
        if none_yet {
            say!("nothing to pause");
        }
        Ok(Exit::Done)
    })
}

/// The downloads with these statuses, one status after the other.
async fn of_statuses(backend: &Backend, statuses: &[Status]) -> Result<Vec<DownloadId>, BackendError> {
    let mut ids = Vec::new();
    for status in statuses {
        let downloads = ask!(backend, list(Some(*status)))?;
        ids.extend(downloads.iter().map(|download| download.id));
    }
    Ok(ids)
}

/// `regrip cancel`
pub(crate) fn cancel(args: &KnownDownload) -> CommandResult {
    let id = args.id;
    with(&args.place, Some(id), async |backend| {
        let cancelled = ask!(backend, cancel(id));
        let cancelled = cancelled.map_err(|fault| NotDone::advised(fault, |status| not_cancelled(id, status)))?;
        let kept = text::bytes(cancelled.kept_bytes);
        say!("download {id} is cancelled; {kept} kept, `regrip retry {id}` resumes it");
        cancelled.say_writer();
        Ok(Exit::Done)
    })
}

/// `regrip remove`
pub(crate) fn remove(args: &KnownDownload) -> CommandResult {
    let id = args.id;
    with(&args.place, Some(id), async |backend| {
        let removed = ask!(backend, remove(id)).map_err(|fault| match fault {
            BackendError::Core(Error::PartLocked { .. }) => {
                NotDone { fault, advice: Some(format!("cancel it first: regrip cancel {id}")) }
            }
            fault => NotDone::from(fault),
        })?;
        let what = match removed.status {
            Status::Completed | Status::ImportQueued | Status::Imported => {
                format!("the file stays: {}", text::plain(&removed.dest_path))
            }
            _ => "its partial data is deleted".to_owned(),
        };
        say!("download {id} is removed; {what}");
        Ok(Exit::Done)
    })
}

/// Why a download cannot be paused, by its status.
fn not_paused(id: DownloadId, status: Status) -> String {
    match status {
        Status::Paused => format!("`regrip resume {id}` resumes it"),
        Status::Committing => not_cancelled(id, status),
        _ => "only queued, running and waiting downloads can be paused".to_owned(),
    }
}

/// Why a download cannot be cancelled, by its status.
fn not_cancelled(id: DownloadId, status: Status) -> String {
    match status {
        Status::Committing => "it is complete and about to get its final name".to_owned(),
        _ => format!("it is not running; `regrip remove {id}` takes it off the list"),
    }
}

/// Why a command was not done, and what the user can do.
struct NotDone {
    fault: BackendError,
    advice: Option<String>,
}

impl<T: Into<BackendError>> From<T> for NotDone {
    fn from(fault: T) -> Self {
        let fault = fault.into();
        let advice = match &fault {
            BackendError::Core(error) => text::advice(error),
            BackendError::Server(error) => error.advice(),
        };
        let advice = advice.map(str::to_owned);
        NotDone { fault, advice }
    }
}

impl NotDone {
    /// With this command's own advice if the status of the download forbids it.
    fn advised(fault: BackendError, advice: impl FnOnce(Status) -> String) -> NotDone {
        let status = match &fault {
            BackendError::Core(Error::WrongState { status, .. }) => Some(*status),
            BackendError::Core(Error::PartLocked { .. }) => Some(Status::Downloading),
            _ => None,
        };
        let not_done = NotDone::from(fault);
        NotDone { advice: status.map(advice).or(not_done.advice), ..not_done }
    }

    /// The exit code, and the text for the user.
    fn ended(&self, id: Option<DownloadId>) -> (Exit, String) {
        let (exit, line) = match &self.fault {
            // An error in the request, not in the state of things.
            BackendError::Server(error @ RemoteError::Refused { status: 400, .. }) => (Exit::Usage, chain(error)),
            BackendError::Server(error) => (Exit::Failed, chain(error)),
            BackendError::Core(error) => {
                let about = match (error, id) {
                    // These name the download themselves.
                    (Error::WrongState { .. } | Error::NoSuchDownload(_), _) | (_, None) => String::new(),
                    (_, Some(id)) => format!("download {id}: "),
                };
                (Exit::from(error), format!("{about}{}", chain(error)))
            }
        };
        let line = text::plain(&line);
        (exit, text::with_advice(&line, self.advice.as_deref()))
    }
}

/// Opens the backend and runs a command on it.
fn with(
    place: &BackendArgs,
    id: Option<DownloadId>,
    command: impl AsyncFnOnce(&Backend) -> Result<Exit, NotDone>,
) -> CommandResult {
    let backend = Backend::open(place)?;
    if let Backend::File(file) = &backend
        && let Some(pid) = file.server()
    {
        say!("regrip: `regrip serve` (process {pid}) is using this state file");
    }
    smol::block_on(command(&backend)).map_err(|not_done| not_done.ended(id))
}

/// Prints lines on standard output.
fn print(lines: impl IntoIterator<Item = String>) -> Exit {
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    output::print(text.as_bytes())
}

/// The time that others are relative to.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Moment { at: SystemTime::now() }
    }

    /// Reads a time as the ledger stores it.
    fn time(self, at: &str) -> Option<SystemTime> {
        humantime::parse_rfc3339(at).ok()
    }

    /// How long ago a time was; zero if it is in the future.
    fn since(self, at: &str) -> Option<Duration> {
        Some(self.at.duration_since(self.time(at)?).unwrap_or_default())
    }

    /// The time left until then; zero if it is over.
    fn until(self, at: &str) -> Option<Duration> {
        Some(self.time(at)?.duration_since(self.at).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Download;
    use regrip_core::OnExists;

    /// 2026-10-20 12:00 UTC.
    pub(super) fn now() -> Moment {
        Moment { at: humantime::parse_rfc3339("2026-10-20T12:00:00Z").expect("a time") }
    }

    /// Accepted an hour ago, last changed a minute ago.
    pub(super) fn download(id: DownloadId, name: &str, status: Status) -> Download {
        Download {
            id,
            kind: "url".to_owned(),
            url: format!("https://example.org/{name}"),
            peer_id: None,
            peer_name: None,
            item_id: None,
            stub_name: None,
            filename: name.to_owned(),
            dest_path: format!("/films/{name}"),
            part_path: format!("/films/{name}.part"),
            on_exists: OnExists::Fail,
            mirrors: Vec::new(),
            header_names: Vec::new(),
            release_size: None,
            expected_bytes: None,
            expected_bytes_source: None,
            expected_bytes_mismatch: false,
            downloaded_bytes: 0,
            durable_bytes: 0,
            etag: None,
            last_modified: None,
            sha256_wanted: None,
            sha256_got: None,
            digests: Vec::new(),
            attempts: 0,
            restarts: 0,
            status,
            waiting_until: None,
            waiting_why: None,
            error: None,
            error_class: None,
            error_code: None,
            import_state: None,
            worker: None,
            created_at: "2026-10-20T11:00:00.000Z".to_owned(),
            started_at: None,
            updated_at: "2026-10-20T11:59:00.000Z".to_owned(),
            completed_at: None,
        }
    }
}
