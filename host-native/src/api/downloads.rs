//! `/api/downloads` and what is below it.

use super::{Api, Handled};
use crate::config::secret_at;
use crate::control::{AskedDownload, BATCH, parse_checksum};
use crate::ledger::{AttemptLine, Download, LedgerEntry, NativeLedger};
use crate::server::{Asked, Object, Payload, Refusal, Reply, parsed};
use crate::transport::Header;
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::unfold;
use futures::{FutureExt, StreamExt};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use regrip_core::Checksum;
use regrip_core::checksum::InvalidChecksum;
use regrip_core::{DownloadId, Error, Status};
use serde::{Deserialize, Serialize};
use smol::Timer;
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

/// Downloads of a page by default.
const PAGE: u32 = 100;
/// Downloads of a page at most.
const LARGEST_PAGE: u32 = 500;

/// A page of downloads, as servers send and commands read it.
#[derive(Serialize, Deserialize)]
pub(crate) struct DownloadPage {
    pub(crate) downloads: Vec<Download>,
    /// The id to ask for the next page `after`, if there is one.
    pub(crate) next: Option<DownloadId>,
    /// Numbers of all downloads by status, with the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<BTreeMap<String, u64>>,
}

/// What is asked of a list.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListQuery {
    statuses: Vec<Status>,
    limit: Option<u32>,
    after: Option<DownloadId>,
}

impl ListQuery {
    fn read<'a>(
        pairs: impl Iterator<Item = (impl AsRef<str> + 'a, impl AsRef<str> + 'a)>,
    ) -> Result<ListQuery, Refusal> {
        let mut query = ListQuery::default();
        for (name, value) in pairs {
            let value = value.as_ref();
            match name.as_ref() {
                "status" => query.statuses = statuses(value)?,
                "limit" => query.limit = Some(limit(value)?),
                "after" => query.after = Some(after(value)?),
                // Parameters of other versions are ignored.
                _ => {}
            }
        }
        Ok(query)
    }
}

/// One or several, comma separated.
fn statuses(value: &str) -> Result<Vec<Status>, Refusal> {
    let mut statuses = Vec::new();
    for name in value.split(',') {
        let status = Status::named(name).ok_or_else(|| {
            let all = Status::ALL.map(Status::name).join(", ");
            Refusal::bad_request(format!("status is one of {all}, or several, comma separated")).about("status")
        })?;
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    Ok(statuses)
}

fn limit(value: &str) -> Result<u32, Refusal> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = value.parse().ok().filter(|_| plain);
    limit
        .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        .ok_or_else(|| Refusal::bad_request(format!("limit is a number from 1 to {LARGEST_PAGE}")).about("limit"))
}

fn after(value: &str) -> Result<DownloadId, Refusal> {
    id(value).ok_or_else(|| Refusal::bad_request("after is the id of a download").about("after"))
}

/// Reads an id: digits without a sign or a leading zero.
fn id(text: &str) -> Option<DownloadId> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

fn captured_id(asked: &Asked) -> Result<DownloadId, Refusal> {
    id(asked.captured())
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NoSuchDownload", "a download's id is a number from 1 on"))
}

pub(super) async fn list<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let query = ListQuery::read(asked.query())?;
    let _turn = api.turns.acquire().await;
    let ledger = api.control.ledger();
    let limit = query.limit.unwrap_or(PAGE);
    // One more, which says whether there is another page.
    let entries = ledger.list(&query.statuses, limit + 1, query.after).await;
    let mut entries = entries.map_err(|error| match error {
        gone @ Error::NoSuchDownload(_) => Refusal::from(gone).about("after"),
        error => error.into(),
    })?;
    let counts = match query.after {
        None => Some(ledger.counts().await?.into_iter()),
        Some(_) => None,
    };
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().map(|entry| entry.row.id);
    let downloads = entries.into_iter().map(up_to_date);
    Ok(Reply::json(&DownloadPage {
        downloads: downloads.collect(),
        next: last.filter(|_| more),
        counts: counts.map(|counts| {
            let named = counts.map(|(status, count)| (status.name().to_owned(), count));
            named.collect()
        }),
    }))
}

pub(super) async fn one<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let _turn = api.turns.acquire().await;
    shown(&api, id, StatusCode::OK).await
}

async fn shown<L: NativeLedger>(api: &Api<L>, id: DownloadId, status: StatusCode) -> Handled {
    let entry = api.control.ledger().entry(id).await?;
    Ok(Reply::json_with(status, &up_to_date(entry)))
}

/// The attempts of a download.
#[derive(Serialize, Deserialize)]
pub(crate) struct AttemptList {
    pub(crate) attempts: Vec<AttemptLine>,
}

pub(super) async fn timeline<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let _turn = api.turns.acquire().await;
    let ledger = api.control.ledger();
    let attempts = ledger.timeline(id).await?;
    if attempts.is_empty() {
        // None yet, or no such download.
        ledger.entry(id).await?;
    }
    Ok(Reply::json(&AttemptList { attempts }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    url: String,
    #[serde(default)]
    mirrors: Vec<String>,
    filename: Option<String>,
    folder: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, HeaderText>,
    sha256: Option<String>,
    #[serde(alias = "digest", alias = "digests")]
    checksum: Option<Checksums>,
    priority: Option<serde_json::Number>,
    paused: Option<bool>,
}

/// A header value, given literally or by the place it is read from.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = r#"a header is of another kind, expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#
)]
enum HeaderText {
    Here(String),
    Elsewhere(Object<SecretPlace>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretPlace {
    env: Option<String>,
    file: Option<String>,
}

/// Priorities range from minus this to plus this.
const HIGHEST_PRIORITY: u8 = 100;

/// Headers of one download.
const MOST_HEADERS: usize = 64;

/// One or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "checksum has another type, expected a string or a list of strings")]
enum Checksums {
    One(String),
    Several(Vec<String>),
}

impl Wish {
    /// The digests that the file must have.
    fn checksums(&self) -> Result<Vec<Checksum>, Refusal> {
        let read = |field, typed: &String| {
            let refused = |error: InvalidChecksum| {
                Refusal::new(StatusCode::BAD_REQUEST, "BadDigest", error.to_string()).about(field)
            };
            parse_checksum(typed).map_err(refused)
        };
        let several = match &self.checksum {
            None => &[][..],
            Some(Checksums::One(one)) => std::slice::from_ref(one),
            Some(Checksums::Several(several)) => several,
        };
        let sha256 = self.sha256.iter().map(|typed| read("sha256", typed));
        sha256.chain(several.iter().map(|typed| read("checksum", typed))).collect()
    }

    fn read(self) -> Result<AskedDownload, Refusal> {
        let (checksums, headers, priority) = (self.checksums()?, self.headers()?, self.priority()?);
        let Wish { url, mirrors, filename, folder, paused, .. } = self;
        Ok(AskedDownload { url, mirrors, filename, folder, headers, priority, checksums, paused: paused == Some(true) })
    }

    fn priority(&self) -> Result<i8, Refusal> {
        let Some(priority) = &self.priority else {
            return Ok(0);
        };
        let priority = priority.as_i64().and_then(|priority| i8::try_from(priority).ok());
        priority.filter(|priority| priority.unsigned_abs() <= HIGHEST_PRIORITY).ok_or_else(|| {
            let expected = format!("priority is a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}");
            Refusal::bad_request(expected).about("priority")
        })
    }

    /// The headers, with the values that were referred to. No refusal has a value in it.
    fn headers(&self) -> Result<Vec<Header>, Refusal> {
        let refused = |why: String| Refusal::new(StatusCode::BAD_REQUEST, "HeadersRefused", why).about("headers");
        if self.headers.len() > MOST_HEADERS {
            return Err(refused(format!("more than {MOST_HEADERS} headers")));
        }
        let mut headers: Vec<Header> = Vec::new();
        for (name, text) in &self.headers {
            let header = match text {
                HeaderText::Here(value) => Header::new(name, value),
                HeaderText::Elsewhere(Object(SecretPlace { env, file })) => {
                    let value = secret_at(env.as_deref(), file.as_deref());
                    Header::new(name, value.map_err(|why| refused(format!("the value of a header: {why}")))?.reveal())
                }
            };
            let header = header.map_err(|error| refused(error.to_string()))?;
            if headers.iter().any(|before| before.name() == header.name()) {
                return Err(refused("one of them is there twice".to_owned()));
            }
            headers.push(header);
        }
        headers.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(headers)
    }
}

/// The URL of a body of `POST /api/downloads`, if it can be read; for [`fuzzed`](crate::fuzzed).
pub(crate) fn read_wish(json: &[u8]) -> Option<String> {
    parsed(json).and_then(Wish::read).ok().map(|asked| asked.url)
}

pub(super) async fn add<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let wish = asked.json::<Wish>().await?;
    // It may read files.
    let wish = smol::unblock(move || wish.read()).await?;
    let control = api.control.clone();
    let accepted = api.change(async move { control.add(&wish).await }).await?;
    let status = match accepted.known {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let _turn = api.turns.acquire().await;
    let reply = shown(&api, accepted.id, status).await?;
    Ok(reply.text_header(LOCATION, &format!("/api/downloads/{}", accepted.id)))
}

/// Many downloads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    downloads: Vec<Object<Wish>>,
}

/// A batch of any length: a line for each download. They are added as they are received.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";

/// Longest body of a batch that is one JSON object.
const LARGEST_BATCH_BYTES: usize = 64 << 20;
/// Most downloads of a batch.
const LARGEST_BATCH: usize = 100_000;
/// How long the storage may take for [`BATCH`] downloads: less than a connection may be idle.
const BATCH_WITHIN: Duration = Duration::from_secs(45);
/// The longest time without any byte of the reply to one JSON object.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// Refusals that are listed.
const MOST_REFUSED: usize = 1000;

/// The result of a batch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BatchReply {
    /// New ones.
    pub(crate) added: usize,
    /// Those that were known.
    pub(crate) known: usize,
    /// Those that were not accepted.
    pub(crate) refused: usize,
    /// Why, for the first of these.
    pub(crate) errors: Vec<BatchError>,
    /// Why the rest is refused without being looked at.
    #[serde(skip)]
    stopped: Option<Refusal>,
}

/// Why a download of a batch was not accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BatchError {
    /// Its place in the batch, or its line, from 0.
    pub(crate) index: usize,
    /// The refusal's code.
    pub(crate) code: String,
    /// What is said about it.
    pub(crate) message: String,
}

pub(super) async fn add_all<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let mut reply = BatchReply::default();
    let Some(mut lines) = asked.lines_of(JSON_LINES) else {
        let batch: Batch = asked.json_up_to(LARGEST_BATCH_BYTES).await?;
        if batch.downloads.len() > LARGEST_BATCH {
            return Err(Refusal::bad_request(format!("more than {LARGEST_BATCH} downloads")).about("downloads"));
        }
        let mut wishes = batch.downloads.into_iter().enumerate();
        return without_silence(LONGEST_SILENCE, async move {
            loop {
                let some: Vec<_> = wishes.by_ref().take(BATCH).collect();
                if some.is_empty() {
                    return reply;
                }
                let read = || some.into_iter().map(|(place, Object(wish))| (place, wish.read())).collect();
                reply.add(&api, smol::unblock(read).await).await;
            }
        })
        .await;
    };
    let (mut place, mut wishes) = (0, Vec::new());
    while let Some(line) = lines.next().await? {
        if !line.trim_ascii().is_empty() {
            wishes.push((place, parsed(&line).and_then(Wish::read)));
        }
        place += 1;
        if wishes.len() == BATCH {
            reply.add(&api, take(&mut wishes)).await;
        }
    }
    reply.add(&api, wishes).await;
    reply.handled()
}

/// Answers once the work is done. If that takes a while, the reply begins with spaces, which JSON may have before a value: a connection
/// without any data is closed as idle.
async fn without_silence(silence: Duration, work: impl Future<Output = BatchReply> + Send + 'static) -> Handled {
    let work = match select(work.boxed(), Timer::after(silence)).await {
        Either::Left((reply, _)) => return reply.handled(),
        Either::Right((_, work)) => work,
    };
    let stream = unfold(Some(work), move |work| async move {
        Some(match select(work?, Timer::after(silence)).await {
            Either::Left((reply, _)) => (serde_json::to_vec(&reply).unwrap_or_default().into(), None),
            Either::Right((_, work)) => (Bytes::from_static(b" "), Some(work)),
        })
    });
    let reply = Reply::new(StatusCode::OK, Payload::Stream(stream.boxed()));
    Ok(reply.header(CONTENT_TYPE, HeaderValue::from_static("application/json")))
}

impl BatchReply {
    /// The refusal, if nothing of the batch was done.
    fn handled(self) -> Handled {
        match &self.stopped {
            Some(refusal) if self.added + self.known == 0 => Err(refusal.clone()),
            _ => Ok(Reply::json(&self)),
        }
    }

    /// Adds downloads and counts the results. Once some could not be added at all, the rest is refused for the same reason.
    async fn add<L: NativeLedger>(&mut self, api: &Arc<Api<L>>, wishes: Vec<(usize, Result<AskedDownload, Refusal>)>) {
        let (mut places, mut readable, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (place, wish) in wishes {
            match wish {
                Ok(wish) => {
                    places.push(place);
                    readable.push(wish);
                }
                Err(refusal) => refusals.push((place, refusal)),
            }
        }
        let results = match &self.stopped {
            Some(refusal) => Err(refusal.clone()),
            None if readable.is_empty() => Ok(Vec::new()),
            None => {
                let _turn = api.turns.acquire().await;
                let control = api.control.clone();
                let adding = async move { Ok::<_, Refusal>(control.add_all(&readable).await) };
                api.change_within(BATCH_WITHIN, adding).await
            }
        };
        let results = results.unwrap_or_else(|refusal| {
            refusals.extend(places.drain(..).map(|place| (place, refusal.clone())));
            self.stopped = Some(refusal);
            Vec::new()
        });
        for (place, result) in places.into_iter().zip(results) {
            match result {
                Some(Ok(accepted)) if accepted.known => self.known += 1,
                Some(Ok(_)) => self.added += 1,
                Some(Err(refused)) => refusals.push((place, refused.into())),
                None => {
                    let code = StatusCode::SERVICE_UNAVAILABLE;
                    refusals.push((place, Refusal::new(code, "Ending", "the server is shutting down: send it again")));
                }
            }
        }
        refusals.sort_by_key(|(place, _)| *place);
        self.refused += refusals.len();
        let error = |(index, refusal): (usize, Refusal)| BatchError {
            index,
            code: refusal.code.to_string(),
            message: refusal.message,
        };
        let room = MOST_REFUSED.saturating_sub(self.errors.len());
        self.errors.extend(refusals.into_iter().take(room).map(error));
    }
}

pub(super) async fn retry<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let control = api.control.clone();
    api.change(async move { control.retry(id).await }).await?;
    shown(&api, id, StatusCode::OK).await
}

pub(super) async fn resume<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let control = api.control.clone();
    api.change(async move { control.resume(id).await }).await?;
    shown(&api, id, StatusCode::OK).await
}

pub(super) async fn pause<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let control = api.control.clone();
    api.change(async move { control.pause(id).await }).await?;
    shown(&api, id, StatusCode::OK).await
}

pub(super) async fn cancel<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let control = api.control.clone();
    api.change(async move { control.cancel(id).await }).await?;
    shown(&api, id, StatusCode::OK).await
}

pub(super) async fn remove<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id = captured_id(&asked)?;
    let control = api.control.clone();
    api.change(async move { control.remove(id).await }).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT, Payload::Empty))
}

/// With the current length of the part: the ledger has the one of the last checkpoint.
pub(super) fn up_to_date(entry: LedgerEntry) -> Download {
    let mut download = Download::from(entry);
    if !download.status.is_finished()
        && let Ok(part) = std::fs::symlink_metadata(&download.part_path)
    {
        download.downloaded_bytes = part.len();
    }
    download
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_takes_long_is_answered_by_spaces_first() {
        smol::block_on(async {
            let done = || BatchReply { added: 3, ..BatchReply::default() };
            let at_once = without_silence(Duration::MAX, async move { done() }).await.unwrap();
            let (_, payload) = at_once.into_parts();
            assert!(matches!(payload, Payload::Bytes(_)));
            let (finish, finished) = smol::channel::bounded::<()>(1);
            let late = without_silence(Duration::ZERO, async move {
                let _ = finished.recv().await;
                done()
            });
            let (head, Payload::Stream(mut body)) = late.await.unwrap().into_parts() else {
                panic!("it does not wait")
            };
            assert_eq!(head.status, StatusCode::OK);
            let mut text = body.next().await.unwrap().to_vec();
            assert_eq!(text, b" ");
            finish.close();
            while let Some(bytes) = body.next().await {
                text.extend_from_slice(&bytes);
            }
            let reply: BatchReply = serde_json::from_slice(&text).unwrap();
            assert_eq!(reply.added, 3);
        });
    }

    #[test]
    fn a_batch_that_was_stopped_is_refused_only_if_nothing_was_added() {
        let stopped = |added| BatchReply { added, stopped: Some(Refusal::bad_request("why")), ..BatchReply::default() };
        assert!(stopped(0).handled().is_err() && stopped(1).handled().is_ok());
    }

    #[test]
    fn a_query_is_taken_whole_or_refused() {
        let read = |text: &str| ListQuery::read(url::form_urlencoded::parse(text.as_bytes()));
        let table = [
            ("", Some((vec![], None, None))),
            ("status=", None),
            ("status=failed,", None),
            (
                "status=failed,waiting,failed&limit=7&after=3",
                Some((vec![Status::Failed, Status::Waiting], Some(7), Some(3))),
            ),
            ("status=done", None),
            ("limit=0", None),
            ("limit=501", None),
            ("limit=+5", None),
            ("limit=x", None),
            ("limit=", None),
            ("after=x", None),
            ("after=-1", None),
            ("after=0", None),
            ("after=01", None),
            ("after=9223372036854775808", None),
            ("other=x", Some((vec![], None, None))),
        ];
        for (text, wanted) in table {
            let wanted = wanted.map(|(statuses, limit, after)| ListQuery { statuses, limit, after });
            assert_eq!(read(text).ok(), wanted, "{text}");
        }
    }
}
