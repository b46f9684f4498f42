//! The commands about downloads that are known already: `list`, `show`, `retry`, `cancel`, `remove`; and `add`, which makes
//! one known to a server.
//!
//! Each asks a [`Downloads`] and prints the answer; where that keeps them, in a state file or a running server, is not the
//! commands' business.

mod add;
pub(crate) mod args;
mod backend;
mod remote;
mod remote_error;
mod retry;
mod show;
mod state_file;
mod table;
mod timeline;

pub(crate) use add::add;
pub(crate) use retry::retry;

use super::output::Look;
use super::{Exit, text};
use args::{Cancel, List, Remove, Show};
use backend::{Downloads, Fault, Kept};
use regrip_core::{DownloadId, Error, Status};
use remote_error::ServerSaid;
use serde_json::json;
use state_file::StateFile;
use std::io::{self, Write, stdout};
use std::time::{Duration, SystemTime};

/// `regrip list`
pub(crate) fn list(args: &List) -> Exit {
    // No state file yet is an empty list, unless one was named.
    let place = &args.place;
    let by_default = place.state.is_none() && place.server.is_none() && place.config.is_none();
    if by_default && StateFile::is_missing() {
        say!("no downloads yet");
        return Exit::Done;
    }
    with(&args.place, None, async |place| {
        let downloads = place.list(args.status).await?;
        if args.json {
            return Ok(print(
                downloads.iter().map(|download| json!(download).to_string()),
            ));
        }
        if downloads.is_empty() {
            say!("no such downloads");
        }
        Ok(print(table::table(
            &downloads,
            Moment::now(),
            Look::of_stdout(),
        )))
    })
}

/// `regrip show`
pub(crate) fn show(args: &Show) -> Exit {
    with(&args.place, Some(args.id), async |place| {
        let shown = place.show(args.id).await?;
        if args.json {
            let object = json!({ "download": shown.download, "attempts": shown.attempts });
            return Ok(print([object.to_string()]));
        }
        Ok(print(show::show(&shown, Moment::now(), Look::of_stdout())))
    })
}

/// `regrip cancel`
pub(crate) fn cancel(args: &Cancel) -> Exit {
    let id = args.id;
    with(&args.place, Some(id), async |place| {
        let called_off = place
            .cancel(id)
            .await
            .map_err(|error| advised(error, &not_cancelled(id)))?;
        let kept = text::bytes(called_off.kept_bytes);
        say!("download {id} is cancelled; {kept} are kept, `regrip retry {id}` goes on from there");
        if let Some(pid) = called_off.writer {
            say!("  process {pid} has not let go of the part yet");
        }
        Ok(Exit::Done)
    })
}

/// `regrip remove`
pub(crate) fn remove(args: &Remove) -> Exit {
    let id = args.id;
    with(&args.place, Some(id), async |place| {
        let removed = place.remove(id).await.map_err(|fault| match fault {
            Fault::Core(locked @ Error::PartLocked { .. }) => advised(locked.into(), &|_| {
                Some(format!("cancel it first: regrip cancel {id}"))
            }),
            other => Told::from(other),
        })?;
        let what = match removed.status {
            Status::Completed | Status::ImportQueued => {
                format!("the file stays: {}", text::plain(&removed.dest_path))
            }
            _ => "what came of it is deleted".to_owned(),
        };
        say!("download {id} is removed; {what}");
        Ok(Exit::Done)
    })
}

/// Why a download cannot be called off, by its status.
fn not_cancelled(id: DownloadId) -> impl Fn(Status) -> Option<String> {
    move |status| match status {
        Status::Committing => {
            Some("all of it is there, and it is about to get its name".to_owned())
        }
        _ => Some(format!(
            "there is nothing to call off; `regrip remove {id}` takes it off the list"
        )),
    }
}

/// Why a command was not done, with what to do about it.
struct Told {
    fault: Fault,
    advice: Option<String>,
}

impl Told {
    fn exit(&self) -> Exit {
        match &self.fault {
            Fault::Core(error) => Exit::from(error),
            // Something in what was asked for, as opposed to how things stand.
            Fault::Server(ServerSaid::Refused { status: 400, .. }) => Exit::Usage,
            Fault::Server(_) => Exit::Failed,
        }
    }
}

impl<T: Into<Fault>> From<T> for Told {
    fn from(fault: T) -> Self {
        let fault = fault.into();
        let advice = match &fault {
            Fault::Core(error) => error.advice(),
            Fault::Server(said) => said.advice(),
        };
        let advice = advice.map(str::to_owned);
        Told { fault, advice }
    }
}

/// A fault, with this command's own advice where the status is what forbids it.
fn advised(fault: Fault, advice: &dyn Fn(Status) -> Option<String>) -> Told {
    let own = match &fault {
        Fault::Core(Error::WrongState { status, .. }) => advice(*status),
        Fault::Core(Error::PartLocked { .. }) => advice(Status::Downloading),
        _ => None,
    };
    let told = Told::from(fault);
    Told {
        advice: own.or(told.advice),
        ..told
    }
}

/// Opens where downloads are kept, runs a command on it, and tells its error.
fn with(
    place: &args::Place,
    id: Option<DownloadId>,
    command: impl AsyncFnOnce(&Kept) -> Result<Exit, Told>,
) -> Exit {
    let opened = match backend::open(place) {
        Ok(opened) => opened,
        Err((exit, text)) => {
            say!("regrip: {text}");
            return exit;
        }
    };
    if let Kept::File(file) = &opened
        && let Some(pid) = file.server()
    {
        say!("regrip: `regrip serve` (process {pid}) is at work with this state file");
    }
    match smol::block_on(command(&opened)) {
        Ok(exit) => exit,
        Err(told) => {
            tell(&told, id);
            told.exit()
        }
    }
}

fn tell(told: &Told, id: Option<DownloadId>) {
    let what = match &told.fault {
        Fault::Core(error) => regrip_core::error::chain(error),
        Fault::Server(said) => regrip_core::error::chain(said),
    };
    let about = match (&told.fault, id) {
        // These name it themselves.
        (Fault::Core(Error::WrongState { .. } | Error::NoSuchDownload(_)), _)
        | (Fault::Server(_), _)
        | (_, None) => String::new(),
        (Fault::Core(_), Some(id)) => format!("download {id}: "),
    };
    let line = text::plain(&format!("regrip: {about}{what}"));
    say!("{}", text::with_advice(&line, told.advice.as_deref()));
}

/// Lines on standard output. Whoever reads them may stop at any time, as `head` does.
fn print(lines: impl IntoIterator<Item = String>) -> Exit {
    let mut out = io::BufWriter::new(stdout().lock());
    let written = lines
        .into_iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            say!("regrip: cannot write to standard output: {error}");
            Exit::Unusable
        }
    }
}

/// The moment from which times are looked at.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Moment {
            at: SystemTime::now(),
        }
    }

    /// A time as the ledger keeps it.
    fn time(self, at: &str) -> Option<SystemTime> {
        humantime::parse_rfc3339(at).ok()
    }

    /// How long ago; nothing for what is still to come.
    fn since(self, at: &str) -> Option<Duration> {
        Some(self.at.duration_since(self.time(at)?).unwrap_or_default())
    }

    /// How long it takes until then; nothing for what is over.
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
        Moment {
            at: humantime::parse_rfc3339("2026-10-20T12:00:00Z").expect("a time"),
        }
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
            attempts: 0,
            restarts: 0,
            status,
            waiting_until: None,
            waiting_why: None,
            error: None,
            error_class: None,
            error_code: None,
            import_state: None,
            created_at: "2026-10-20T11:00:00.000Z".to_owned(),
            started_at: None,
            updated_at: "2026-10-20T11:59:00.000Z".to_owned(),
            completed_at: None,
        }
    }
}
