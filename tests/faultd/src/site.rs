//! The state machine without sockets: which file is which version now, which answer is next, what was asked.
//!
//! Invariant: the same script and the same requests in the same order give the same replies, but for the
//! Date, which [`Site::set_time`] fixes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::faults::{Fault, Misbehave};
use crate::honest;
use crate::log::{Log, LogEntry};
use crate::reply::Reply;
use crate::request::Request;
use crate::script::{FileScript, Script, Version};

/// Where a path begins that names its own size: `/random/1000000`.
const RANDOM: &str = "/random/";
/// What stands for the server's origin in a Location.
const ORIGIN_MARK: &str = "{origin}";

/// A script being played. It is shared by all connections.
#[derive(Debug)]
pub struct Site {
    state: Mutex<State>,
    cuts: AtomicU64,
    goes: AtomicU64,
}

/// An answer and the log entry that its progress belongs to.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The number of the log entry.
    pub entry: u64,
    /// What goes on the wire.
    pub reply: Reply,
}

#[derive(Debug)]
struct State {
    script: Rules,
    files: BTreeMap<String, Arc<FileScript>>,
    progress: HashMap<String, Progress>,
    log: Log,
    origin: String,
    time: Option<SystemTime>,
}

/// The part of a script that holds for every file.
#[derive(Debug)]
struct Rules {
    delay: Duration,
    bytes_per_second: Option<u64>,
    required: Option<(String, String)>,
}

/// How far one file's script has been played.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// GETs so far.
    asked: usize,
    /// The index of the version that is there now.
    version: usize,
}

impl Site {
    /// A site at the beginning of its script. [`Script::check`] validates the script; if it
    /// does not, the files in question answer 500.
    pub fn new(script: Script) -> Self {
        let (rules, files) = rules_and_files(script);
        let state = State {
            script: rules,
            files,
            progress: HashMap::new(),
            log: Log::default(),
            origin: "http://faultd.test".to_owned(),
            time: None,
        };
        Self { state: Mutex::new(state), cuts: AtomicU64::new(0), goes: AtomicU64::new(0) }
    }

    /// The answer to a request; counts it and logs it.
    pub fn answer(&self, request: &Request) -> Reply {
        self.exchange(request).reply
    }

    /// Like [`Site::answer`], with the log entry for [`Site::record_sent`] and [`Site::record_end`].
    pub fn exchange(&self, request: &Request) -> Exchange {
        let mut state = self.state();
        let date = honest::http_date(state.time.unwrap_or_else(SystemTime::now));
        let (delay, bytes_per_second) = (state.script.delay, state.script.bytes_per_second);
        let origin = state.origin.clone();
        let choice = state.choose(request);
        // Making the reply can hash a whole file: not under the lock.
        drop(state);
        let mut reply = choice.reply(request, &date);
        name_origin(&mut reply, &origin);
        reply.delay += delay;
        reply.bytes_per_second = bytes_per_second;
        let entry = self.state().log.add(request, reply.status);
        Exchange { entry, reply }
    }

    /// Plays another script from its beginning and forgets the log.
    pub fn restart(&self, script: Script) {
        let (rules, files) = rules_and_files(script);
        let mut state = self.state();
        state.script = rules;
        state.files = files;
        state.progress.clear();
        state.log.clear();
    }

    /// Makes a file another of its versions, from 0, for the requests to come. False if there is no such
    /// file or version.
    pub fn replace(&self, path: &str, version: usize) -> bool {
        let mut state = self.state();
        let known = state.files.get(path).is_some_and(|file| version < file.versions.len());
        if known {
            state.progress.entry(path.to_owned()).or_default().version = version;
        }
        known
    }

    /// Cuts every answer that is under way at its next piece. Those to come are not touched.
    pub fn cut_all(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes with every [`Site::cut_all`].
    pub(crate) fn cuts(&self) -> &AtomicU64 {
        &self.cuts
    }

    /// Ends the pauses of every answer that is under way, also those that it has yet to reach.
    pub fn go_on(&self) {
        self.goes.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes with every [`Site::go_on`].
    pub(crate) fn goes(&self) -> &AtomicU64 {
        &self.goes
    }

    /// Every request so far, oldest first.
    pub fn log(&self) -> Vec<LogEntry> {
        self.state().log.entries()
    }

    /// Records how far an answer has come: payload bytes sent so far.
    pub fn record_sent(&self, entry: u64, sent_bytes: u64) {
        if let Some(entry) = self.state().log.entry(entry) {
            entry.sent_bytes = sent_bytes;
        }
    }

    /// Records that an answer is over, and whether because the peer went away.
    pub fn record_end(&self, entry: u64, peer_closed: bool) {
        if let Some(entry) = self.state().log.entry(entry) {
            entry.finished = true;
            entry.peer_closed = peer_closed;
        }
    }

    /// What `{origin}` stands for in a redirect: scheme, host and port, without a slash at the end.
    pub fn set_origin(&self, origin: &str) {
        self.state().origin = origin.to_owned();
    }

    /// Fixes the Date of the answers to come; none is the system's clock.
    pub fn set_time(&self, time: Option<SystemTime>) {
        self.state().time = time;
    }

    /// A panic elsewhere leaves nothing half done in the state, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rules_and_files(script: Script) -> (Rules, BTreeMap<String, Arc<FileScript>>) {
    let rules = Rules {
        delay: Duration::from_millis(script.latency_ms.unwrap_or(0)),
        bytes_per_second: script.bytes_per_second,
        required: script.require_header.map(|header| (header.name, header.value)),
    };
    (rules, script.files.into_iter().map(|(path, file)| (path, Arc::new(file))).collect())
}

/// What is to be answered, decided under the lock and made into a reply outside it.
enum Choice {
    /// A line of text.
    Plain(u16, &'static str),
    /// A CORS preflight, with the faults of the GET that it prepares.
    Preflight(Option<(Arc<FileScript>, Progress)>),
    /// A file, as it is for this request.
    File(Arc<FileScript>, Progress),
    /// A file that no script names.
    Random(Version),
}

impl State {
    /// Decides, and counts a GET.
    fn choose(&mut self, request: &Request) -> Choice {
        let path = request.path();
        let known = self.files.get(path).cloned();
        if request.method == "OPTIONS" {
            let progress = self.progress.get(path).copied().unwrap_or_default();
            return Choice::Preflight(known.map(|file| (file, progress)));
        }
        if let Some((name, value)) = &self.script.required
            && request.header(name) != Some(value)
        {
            return Choice::Plain(401, "the required header is missing or wrong\n");
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Choice::Plain(405, "only GET, HEAD and OPTIONS\n");
        }
        let Some(file) = known else {
            let random = path.strip_prefix(RANDOM).and_then(|size| size.parse().ok());
            return random.map_or(Choice::Plain(404, "no such file\n"), |size| Choice::Random(random_file(size)));
        };
        let progress = self.progress.entry(path.to_owned()).or_default();
        if request.method == "HEAD" {
            return Choice::File(file, *progress);
        }
        if let Some(version) = file.faults_of(progress.asked).iter().filter_map(Fault::replaced_version).next_back() {
            progress.version = version;
        }
        let now = *progress;
        progress.asked = progress.asked.saturating_add(1);
        Choice::File(file, now)
    }
}

impl Choice {
    fn reply(self, request: &Request, date: &str) -> Reply {
        match self {
            Choice::Plain(status, text) => honest::plain(request, status, text, Some(date)),
            Choice::Random(version) => honest::answer(request, &version, Some(date)),
            Choice::Preflight(file) => {
                let mut reply = honest::preflight(request, Some(date));
                if let Some((file, progress)) = file {
                    refuse_preflight(&file, progress, request, &mut reply);
                }
                reply
            }
            Choice::File(file, progress) => {
                let Some(version) = file.versions.get(progress.version) else {
                    return honest::plain(request, 500, "the script has no such version\n", Some(date));
                };
                let mut reply = honest::answer(request, version, Some(date));
                if request.method == "GET" {
                    for fault in file.faults_of(progress.asked) {
                        fault.apply(request, version, &mut reply);
                    }
                }
                reply
            }
        }
    }
}

/// Of the faults of the next GET, the one that is about its preflight.
fn refuse_preflight(file: &FileScript, progress: Progress, request: &Request, reply: &mut Reply) {
    for fault in file.faults_of(progress.asked) {
        if let (Fault::RefusePreflight(refusal), Some(version)) = (fault, file.versions.get(progress.version)) {
            refusal.apply(request, version, reply);
        }
    }
}

fn random_file(size: u64) -> Version {
    Version::new(1, size).etag(&format!("\"random-{size}\""))
}

/// Puts the site's origin in place of its mark in a Location.
fn name_origin(reply: &mut Reply, origin: &str) {
    for (name, value) in &mut reply.headers {
        if name.eq_ignore_ascii_case("Location")
            && let Ok(text) = std::str::from_utf8(value)
        {
            *value = text.replace(ORIGIN_MARK, origin).into_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Cut, Redirect, RefusePreflight, Replace, Status};

    fn file() -> FileScript {
        FileScript::honest(Version::new(1, 100).etag("\"v1\""))
    }

    fn site(file: FileScript) -> Site {
        Site::new(Script::one("/a", file))
    }

    #[test]
    fn answer_n_is_for_the_nth_get_whatever_else_is_asked() {
        let site = site(file().answer([Status::code(500)]).honest_answer().then([Cut::after(1)]));
        let head = site.answer(&Request::new("HEAD", "/a"));
        let preflight = site.answer(&Request::new("OPTIONS", "/a"));
        assert_eq!((head.status, preflight.status), (200, 204));
        assert_eq!(site.answer(&Request::get("/a?x=1")).status, 500);
        assert_eq!(site.answer(&Request::get("/a")).payload_len(), 100);
        assert_eq!(site.answer(&Request::get("/a")).payload_len(), 1);
        assert_eq!(site.answer(&Request::get("/a")).payload_len(), 1);
    }

    #[test]
    fn a_replaced_file_stays_replaced() {
        let site = site(file().version(Version::new(2, 7).etag("\"v2\"")).honest_answer().answer([Replace::with(1)]));
        let tags: Vec<_> = (0..3).map(|_| site.answer(&Request::get("/a")).header("ETag").map(str::to_owned)).collect();
        assert_eq!(tags, [Some("\"v1\"".to_owned()), Some("\"v2\"".to_owned()), Some("\"v2\"".to_owned())]);
        assert_eq!(site.answer(&Request::new("HEAD", "/a")).header("ETag"), Some("\"v2\""));
        assert!(site.replace("/a", 0));
        assert_eq!(site.answer(&Request::get("/a")).header("ETag"), Some("\"v1\""));
        assert!(!site.replace("/a", 2) && !site.replace("/b", 0));
    }

    #[test]
    fn a_preflight_is_refused_where_the_next_get_says_so() {
        let site = site(file().answer([RefusePreflight::always()]));
        let refused = site.answer(&Request::new("OPTIONS", "/a"));
        assert_eq!((refused.status, refused.header("Access-Control-Allow-Origin")), (403, None));
        assert_eq!(site.answer(&Request::get("/a")).status, 200);
        assert_eq!(site.answer(&Request::new("OPTIONS", "/a")).status, 204);
    }

    #[test]
    fn a_request_without_the_required_header_is_refused_and_does_not_count() {
        let site = Site::new(Script::one("/a", file().answer([Status::code(500)])).require_header("X-Api-Key", "k"));
        assert_eq!(site.answer(&Request::get("/a")).status, 401);
        assert_eq!(site.answer(&Request::get("/a").with("X-Api-Key", "wrong")).status, 401);
        assert_eq!(site.answer(&Request::new("OPTIONS", "/a")).status, 204);
        assert_eq!(site.answer(&Request::get("/a").with("x-api-key", "k")).status, 500);
    }

    #[test]
    fn a_redirect_can_name_the_sites_own_origin() {
        let site = site(file().answer([Redirect::to("{origin}/b")]));
        site.set_origin("http://127.0.0.1:8080");
        assert_eq!(site.answer(&Request::get("/a")).header("Location"), Some("http://127.0.0.1:8080/b"));
    }

    #[test]
    fn latency_and_rate_of_the_script_are_in_every_reply() {
        let site = Site::new(Script::one("/a", file()).latency_ms(7).bytes_per_second(1000));
        for path in ["/a", "/unknown"] {
            let reply = site.answer(&Request::get(path));
            assert_eq!((reply.delay, reply.bytes_per_second), (Duration::from_millis(7), Some(1000)), "{path}");
        }
    }

    #[test]
    fn what_no_script_names_is_404_but_for_random_files_of_any_size() {
        let site = Site::new(Script::new());
        assert_eq!(site.answer(&Request::get("/a")).status, 404);
        assert_eq!(site.answer(&Request::get("/random/x")).status, 404);
        let random = site.answer(&Request::get("/random/12").with("Range", "bytes=2-"));
        assert_eq!((random.status, random.payload_len(), random.header("ETag")), (206, 10, Some("\"random-12\"")));
        assert_eq!(site.answer(&Request::new("POST", "/random/12")).status, 405);
    }

    #[test]
    fn the_log_says_what_was_asked_and_how_far_the_answer_came() {
        let site = site(file());
        let request = Request::get("/a?q").with("Range", "bytes=5-").with("If-Range", "\"v1\"");
        let exchange = site.exchange(&request);
        site.record_sent(exchange.entry, 42);
        site.record_end(exchange.entry, true);
        let log = site.log();
        let [entry] = log.as_slice() else { panic!("one entry, not {}", log.len()) };
        assert_eq!((entry.method.as_str(), entry.path.as_str(), entry.status), ("GET", "/a", 206));
        assert_eq!((entry.range.as_deref(), entry.if_range.as_deref()), (Some("bytes=5-"), Some("\"v1\"")));
        assert_eq!((entry.sent_bytes, entry.peer_closed, entry.finished), (42, true, true));
        assert_eq!(entry.header("range"), Some("bytes=5-"));
    }

    #[test]
    fn a_new_script_starts_at_its_beginning_with_an_empty_log() {
        let script = Script::one("/a", file().answer([Status::code(500)]));
        let site = Site::new(script.clone());
        assert_eq!(site.answer(&Request::get("/a")).status, 500);
        assert_eq!(site.answer(&Request::get("/a")).status, 200);
        site.restart(script);
        assert_eq!(site.log().len(), 0);
        assert_eq!(site.answer(&Request::get("/a")).status, 500);
    }

    #[test]
    fn the_date_can_be_fixed() {
        let site = site(file());
        site.set_time(Some(SystemTime::UNIX_EPOCH));
        assert_eq!(site.answer(&Request::get("/a")).header("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    }
}
