//! Torznab, by which Radarr and Sonarr search the peers: capabilities, searches, the feed of new releases, and stubs.
//!
//! Every peer is asked at once, each within [`PATIENCE`], so one that does not answer costs the others nothing; its error is a
//! comment in the feed and `last_search` of `/api/peers`. A feed without a query is all that the peers have, newest first, dated
//! by `publishDate` of the release or, if the peer states none, by its first appearance here since the start. Text is searched
//! for in the titles of that feed, because the peer wire has no text search.
//!
//! Invariants: what a peer names is escaped and bounded, and each listed release makes a stub that is read back. Radarr and Sonarr
//! read an error's XML only in a reply with status 200, so `/torznab/api` sends its errors so, except for 429 and 503.

use super::auth::{X_FORWARDED_PROTO, query_key};
use super::{Api, Handled};
use crate::ledger::NativeLedger;
use crate::peers::{ENCODED, KnownPeer, Query, Release};
use crate::server::{Asked, Payload, Refusal, Reply, X_API_KEY, only};
use crate::sync::lock;
use futures::future::{Either, join_all, select};
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use percent_encoding::utf8_percent_encode;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use regrip_core::error::chain;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::time::Clock;
use regrip_core::{Algorithm, Error, PeerId, Stub};
use serde_json::Value;
use smol::Timer;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// What a peer gets to answer, at most; `headersTimeoutMs` may be less.
const PATIENCE: Duration = Duration::from_secs(10);
/// Releases of a page.
const DEFAULT_LIMIT: usize = 100;
const MOST_LIMIT: usize = 500;
/// Releases whose first appearance is remembered.
const MOST_DATED: usize = 100_000;
/// Radarr's and Sonarr's numbers for the kinds.
const FILMS: u32 = 2000;
const SERIES: u32 = 5000;
const NAMESPACE: &str = "http://torznab.com/schemas/2015/feed";

/// Error codes of the protocol.
const WRONG_KEY: u32 = 100;
const MISSING_PARAMETER: u32 = 200;
const INCORRECT_PARAMETER: u32 = 201;
const NO_SUCH_FUNCTION: u32 = 202;
const NO_SUCH_ITEM: u32 = 300;
const LIMIT_REACHED: u32 = 500;
const UNKNOWN_ERROR: u32 = 900;

/// When a release without a date was listed first.
#[derive(Debug, Default)]
pub(super) struct FirstListed(Mutex<HashMap<String, SystemTime>>);

impl FirstListed {
    fn of(&self, guid: &str, now: SystemTime) -> SystemTime {
        let mut dates = lock(&self.0);
        if dates.len() >= MOST_DATED && !dates.contains_key(guid) {
            dates.clear();
        }
        *dates.entry(guid.to_owned()).or_insert(now)
    }
}

/// `/torznab/api`.
pub(super) async fn api<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let search = match TorznabSearch::read(asked.query()) {
        Ok(Some(search)) => search,
        Ok(None) => return Ok(document(StatusCode::OK, capabilities)),
        Err((code, message)) => return Ok(error(StatusCode::OK, code, &message)),
    };
    let (mut listed, mut failures) = (Vec::new(), Vec::new());
    for (known, answer) in ask_all(&api, &search.query).await {
        let peer = known.client.peer();
        match answer {
            Ok(releases) => listed.extend(releases.iter().filter_map(|release| {
                let listed = FeedItem::new(&peer.id, release, &api.first_listed)?;
                search.fits(&listed, release).then_some(listed)
            })),
            Err(why) => failures.push(format!("peer {}: {why}", peer.name)),
        }
    }
    failures.sort();
    listed.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.guid().cmp(&other.guid())));
    let end = search.offset.saturating_add(search.limit).min(listed.len());
    let page = listed.get(search.offset..end).unwrap_or_default();
    let link = LinkBase::of(api.control.torrents().own_url(), &asked);
    Ok(document(StatusCode::OK, |xml| feed(xml, page, search.offset, listed.len(), &link, &failures)))
}

/// `/torznab/download/{peerId}:{itemId}.torrent`: the stub, as long as the peer's file is now.
pub(super) async fn download<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let named = asked.captured().strip_suffix(".torrent").and_then(|name| name.split_once(':'));
    let known = named.and_then(|(peer, item)| {
        let known = api.control.peer_clients().get(&PeerId::new(peer)?)?;
        Some((known, item.to_owned()))
    });
    let Some((known, item)) = known else {
        return Err(Refusal::not_found("no configured peer has this item"));
    };
    let (peer, id) = (known.client.peer().id.clone(), item.clone());
    let asking = known.clone();
    let release = answer(&api, &known, async move {
        let _turn = asking.turns.acquire().await;
        asking.client.item_once(&id).await
    });
    let stub = match release.await {
        Ok(release) => release.stub(peer, &item).ok(),
        Err(Failure::Peer(error @ (Error::Status { status: 404 | 410, .. } | Error::NameRefused { .. }))) => {
            return Err(Refusal::not_found(chain(&error)));
        }
        Err(failure) => {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "PeerFailed", failure.to_string());
            return Err(refusal.retry_after(PATIENCE));
        }
    };
    let Some(stub) = stub else {
        return Err(Refusal::not_found("no stub can name this item"));
    };
    let name = utf8_percent_encode(&stub.name, ENCODED);
    Ok(Reply::new(StatusCode::OK, Payload::Bytes(stub.write().into()))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-bittorrent"))
        .text_header(CONTENT_DISPOSITION, &format!("attachment; filename*=UTF-8''{name}.torrent")))
}

/// A refusal as Torznab's clients read it.
pub(super) fn refusal(refusal: Refusal) -> Reply {
    let (status, code, message) = match refusal.status {
        StatusCode::UNAUTHORIZED => (StatusCode::OK, WRONG_KEY, "Invalid API key (apikey, or the header X-Api-Key)"),
        StatusCode::FORBIDDEN => (StatusCode::OK, WRONG_KEY, refusal.message.as_str()),
        StatusCode::TOO_MANY_REQUESTS => (refusal.status, LIMIT_REACHED, refusal.message.as_str()),
        StatusCode::NOT_FOUND => (refusal.status, NO_SUCH_ITEM, refusal.message.as_str()),
        status => (status, UNKNOWN_ERROR, refusal.message.as_str()),
    };
    let reply = error(status, code, message);
    match refusal.retry_after {
        Some(wait) => reply.header(RETRY_AFTER, wait.as_secs().max(1).into()),
        None => reply,
    }
}

/// What a request searches for.
#[derive(Debug, Default)]
struct TorznabSearch {
    query: Query,
    /// In lower case; all must be in the title.
    words: Vec<String>,
    /// By thousands; `None` for all.
    categories: Option<HashSet<u32>>,
    offset: usize,
    limit: usize,
}

impl TorznabSearch {
    /// Reads the parameters, of which the first of a name counts; `None` if the capabilities are asked for.
    ///
    /// # Errors
    /// The protocol's code and message.
    fn read<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Option<TorznabSearch>, (u32, String)> {
        let mut values = HashMap::new();
        for (name, value) in pairs {
            values.entry(name.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
        }
        let value = |name: &str| values.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let number = |name: &str, mark: &str| {
            let Some(text) = value(name) else {
                return Ok(None);
            };
            let lower = text.to_ascii_lowercase();
            let digits = lower.strip_prefix(mark).unwrap_or(&lower);
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<u32>() {
                Ok(number) if plain => Ok(Some(u64::from(number))),
                _ => Err((INCORRECT_PARAMETER, format!("Incorrect parameter ({name}: expected a number)"))),
            }
        };
        let is_id = |id: &u64| *id > 0;
        let mut query = Query {
            imdb_id: number("imdbid", "tt")?.filter(is_id).map(|id| format!("tt{id:07}")),
            tmdb_id: number("tmdbid", "")?.filter(is_id),
            tvdb_id: number("tvdbid", "")?.filter(is_id),
            ..Query::default()
        };
        // Sonarr asks for a daily episode by its date, which no peer knows: the titles tell.
        if !value("ep").is_some_and(|episode| episode.contains('/')) {
            (query.season, query.episode) = (number("season", "s")?, number("ep", "e")?);
        }
        let mut categories = categories(value("cat").unwrap_or_default())?;
        match value("t") {
            None => return Err((MISSING_PARAMETER, "Missing parameter (t)".to_owned())),
            Some("caps") => return Ok(None),
            Some("search") => {}
            Some("movie") => {
                query = Query { tvdb_id: None, season: None, episode: None, ..query };
                categories = Some(only_kind(FILMS, categories));
            }
            Some("tvsearch") => {
                if query.tvdb_id.is_some() {
                    // A peer that knows a series by one id only finds it by this one.
                    query = Query { imdb_id: None, tmdb_id: None, ..query };
                }
                categories = Some(only_kind(SERIES, categories));
            }
            Some(_) => return Err((NO_SUCH_FUNCTION, "No such function".to_owned())),
        }
        let has_id = query.imdb_id.is_some() || query.tmdb_id.is_some() || query.tvdb_id.is_some();
        let size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        let limit = size(number("limit", "")?).filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT);
        Ok(Some(TorznabSearch {
            words: if has_id { Vec::new() } else { words(value("q").unwrap_or_default()).collect() },
            categories,
            offset: size(number("offset", "")?).unwrap_or(0),
            limit: limit.min(MOST_LIMIT),
            query,
        }))
    }

    fn fits(&self, listed: &FeedItem, release: &Release) -> bool {
        let of_kind = self.categories.as_ref().is_none_or(|kinds| kinds.contains(&(release.category / 1000 * 1000)));
        let of_season = self.query.season.is_none_or(|asked| listed.season.is_none_or(|season| season == asked));
        let in_title = || {
            let title: HashSet<String> = words(&release.title).chain(words(release.filename.as_str())).collect();
            self.words.iter().all(|word| title.contains(word))
        };
        of_kind && of_season && in_title()
    }
}

/// The thousands of the categories of a list; `None` if it is empty.
fn categories(list: &str) -> Result<Option<HashSet<u32>>, (u32, String)> {
    let numbers = list.split(',').map(str::trim).filter(|number| !number.is_empty());
    let kinds: Result<HashSet<u32>, _> =
        numbers.map(|number| number.parse().map(|kind: u32| kind / 1000 * 1000)).collect();
    match kinds {
        Ok(kinds) => Ok(Some(kinds).filter(|kinds| !kinds.is_empty())),
        Err(_) => Err((INCORRECT_PARAMETER, "Incorrect parameter (cat: expected numbers)".to_owned())),
    }
}

fn only_kind(kind: u32, asked: Option<HashSet<u32>>) -> HashSet<u32> {
    asked.map_or_else(|| HashSet::from([kind]), |kinds| kinds.into_iter().filter(|asked| *asked == kind).collect())
}

/// The words of a title or a search, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let joined = text.to_lowercase().replace(['\'', '\u{2019}'], "");
    let words: Vec<String> = joined.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned).collect();
    words.into_iter().filter(|word| !word.is_empty())
}

/// Why a peer gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    #[error("{}", chain(.0))]
    Peer(Error),
}

/// Asks all peers at once. What they answer is recorded for `/api/peers`, also if it is too late for this search.
async fn ask_all<L: NativeLedger>(api: &Api<L>, query: &Query) -> Vec<(KnownPeer<L>, Result<Vec<Release>, Failure>)> {
    let asked = api.control.peer_clients().list().into_iter().map(|known| async move {
        let (board, query, asking) = (api.control.peers().clone(), query.clone(), known.clone());
        let found = answer(api, &known, async move {
            let _turn = asking.turns.acquire().await;
            let found = asking.client.search(&query).await;
            let (id, at) = (asking.client.peer().id.as_str(), SystemTime::now());
            match &found {
                Ok(_) => board.answered(id, asking.client.version(), at),
                Err(error) => board.failed(id, chain(error), at),
            }
            board.searched(id, found.as_ref().map(Vec::len).map_err(chain), at);
            found
        });
        let found = found.await;
        if let Err(failure) = &found {
            let id = known.client.peer().id.as_str();
            api.control.peers().searched(id, Err(failure.to_string()), SystemTime::now());
        }
        (known, found)
    });
    join_all(asked).await
}

/// Waits for an answer as long as a peer may take. A request that takes longer goes on, so that the breaker counts its
/// failure: a peer whose breaker is open is not asked until its next probe is due.
async fn answer<L: NativeLedger, T: Send + 'static>(
    api: &Api<L>,
    known: &KnownPeer<L>,
    asking: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Failure> {
    let engine = api.control.engine();
    if let Some(outage) = known.client.line().outage()
        && outage.next_probe > engine.host().clock().now()
    {
        return Err(Failure::Peer(outage.last.error()));
    }
    let patience = PATIENCE.min(Duration::from_millis(engine.config().headers_timeout_ms));
    match select(smol::spawn(asking), Timer::after(patience)).await {
        Either::Left((answered, _)) => answered.map_err(Failure::Peer),
        Either::Right((_, late)) => {
            late.detach();
            Err(Failure::Late(patience))
        }
    }
}

/// A release as it is listed.
#[derive(Debug)]
struct FeedItem {
    stub: Stub,
    title: String,
    category: u32,
    at: SystemTime,
    imdb: Option<u64>,
    tmdb: Option<u64>,
    tvdb: Option<u64>,
    season: Option<u64>,
    episode: Option<u64>,
}

impl FeedItem {
    /// `None` if no stub or no XML can name it.
    fn new(peer: &PeerId, release: &Release, first_listed: &FirstListed) -> Option<FeedItem> {
        let stub = release.stub(peer.clone(), &release.id).ok().filter(|stub| stub.item.chars().all(is_xml))?;
        let said: Value = serde_json::from_str(&release.json).unwrap_or_default();
        // Radarr and Sonarr read 32 bits.
        let number = |name: &str| said[name].as_u64().filter(|number| i32::try_from(*number).is_ok());
        let imdb = said["imdbId"].as_str().and_then(|id| id.strip_prefix("tt").unwrap_or(id).parse().ok());
        let now = SystemTime::now();
        let published = said["publishDate"].as_str().and_then(|at| humantime::parse_rfc3339_weak(at).ok());
        let title = if release.title.trim().is_empty() { release.filename.as_str() } else { &release.title };
        Some(FeedItem {
            title: title.to_owned(),
            category: release.category,
            at: published.unwrap_or_else(|| first_listed.of(&guid(&stub), now)).min(now),
            imdb: imdb.filter(|number: &u64| i32::try_from(*number).is_ok()),
            tmdb: number("tmdbId"),
            tvdb: number("tvdbId"),
            season: number("season"),
            episode: number("episode"),
            stub,
        })
    }

    fn guid(&self) -> String {
        guid(&self.stub)
    }

    /// Names and values of `torznab:attr`.
    fn attributes(&self) -> Vec<(&'static str, String)> {
        let hash = Hasher::of(Algorithm::Sha1, &self.stub.info());
        let always = [
            ("category", self.category.to_string()),
            ("size", self.stub.length.to_string()),
            ("infohash", hash.hex),
            ("seeders", "1".to_owned()),
            ("peers", "1".to_owned()),
            ("downloadvolumefactor", "0".to_owned()),
            ("uploadvolumefactor", "1".to_owned()),
        ];
        let ids = [
            ("imdb", self.imdb.map(|id| id.to_string())),
            ("imdbid", self.imdb.map(|id| format!("tt{id:07}"))),
            ("tmdbid", self.tmdb.map(|id| id.to_string())),
            ("tvdbid", self.tvdb.map(|id| id.to_string())),
            ("season", self.season.map(|number| number.to_string())),
            ("episode", self.episode.map(|number| number.to_string())),
        ];
        always.into_iter().chain(ids.into_iter().filter_map(|(name, id)| Some((name, id?)))).collect()
    }
}

fn guid(stub: &Stub) -> String {
    format!("{}:{}", stub.peer, stub.item)
}

/// Where the links of a feed lead: to `regrip.internalUrl` or, without one, to the server under the name that the request had for
/// it; with the key of the request, because Radarr and Sonarr fetch a stub without any header.
struct LinkBase {
    base: String,
    query: String,
}

impl LinkBase {
    fn of(own_url: Option<String>, asked: &Asked) -> LinkBase {
        let headers = asked.headers();
        let text = |name: &HeaderName| only(headers, name).and_then(|value| std::str::from_utf8(value).ok());
        let scheme = if text(&X_FORWARDED_PROTO) == Some("https") { "https" } else { "http" };
        let key = query_key(asked.query()).or_else(|| text(&X_API_KEY).map(Cow::Borrowed));
        LinkBase {
            base: match (own_url, text(&HOST)) {
                (Some(url), _) => url.trim_end_matches('/').to_owned(),
                (None, host) => host.map_or_else(String::new, |host| format!("{scheme}://{host}")),
            },
            query: key.map_or_else(String::new, |key| format!("?apikey={}", utf8_percent_encode(&key, ENCODED))),
        }
    }

    fn to(&self, stub: &Stub) -> String {
        let item = utf8_percent_encode(&stub.item, ENCODED);
        format!("{}/torznab/download/{}:{item}.torrent{}", self.base, stub.peer, self.query)
    }
}

/// Returns `true` for a character that XML 1.0 can have (§2.2), except line breaks and tabs.
fn is_xml(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{FFFE}' | '\u{FFFF}')
}

/// A text without what XML cannot have.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if is_xml(letter) { letter } else { '?' }).collect()
}

type Xml = Writer<Vec<u8>>;

fn document(status: StatusCode, write: impl FnOnce(&mut Xml) -> io::Result<()>) -> Reply {
    let mut xml = Writer::new(Vec::new());
    let declared = xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    // Writing to memory does not fail.
    let _ = declared.and_then(|()| write(&mut xml));
    Reply::new(status, Payload::Bytes(xml.into_inner().into()))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"))
}

fn error(status: StatusCode, code: u32, message: &str) -> Reply {
    let attributes = [("code", code.to_string()), ("description", clean(message))];
    document(status, |xml| element(xml, "error", &attributes))
}

/// An element with attributes only.
fn element(xml: &mut Xml, name: &str, attributes: &[(&str, String)]) -> io::Result<()> {
    let attributes = attributes.iter().map(|(name, value)| (*name, value.as_str()));
    xml.create_element(name).with_attributes(attributes).write_empty().map(drop)
}

/// An element with text only.
fn text(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}

fn capabilities(xml: &mut Xml) -> io::Result<()> {
    let owned = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let searches =
        [("search", "q"), ("tv-search", "q,tvdbid,imdbid,tmdbid,season,ep"), ("movie-search", "q,imdbid,tmdbid")];
    let kinds = [
        (FILMS, "Movies", [(2030, "SD"), (2040, "HD"), (2045, "UHD")]),
        (SERIES, "TV", [(5030, "SD"), (5040, "HD"), (5045, "UHD")]),
    ];
    xml.create_element("caps").write_inner_content(|xml| {
        element(xml, "server", &owned(&[("version", env!("CARGO_PKG_VERSION")), ("title", "regrip")]))?;
        element(xml, "limits", &[("default", DEFAULT_LIMIT.to_string()), ("max", MOST_LIMIT.to_string())])?;
        xml.create_element("searching").write_inner_content(|xml| {
            searches.iter().try_for_each(|(name, parameters)| {
                element(xml, name, &owned(&[("available", "yes"), ("supportedParams", parameters)]))
            })
        })?;
        xml.create_element("categories").write_inner_content(|xml| {
            for (id, name, parts) in &kinds {
                let category =
                    xml.create_element("category").with_attributes([("id", id.to_string().as_str()), ("name", name)]);
                category.write_inner_content(|xml| {
                    parts.iter().try_for_each(|(id, part)| {
                        element(xml, "subcat", &[("id", id.to_string()), ("name", format!("{name}/{part}"))])
                    })
                })?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

fn feed(
    xml: &mut Xml,
    page: &[FeedItem],
    offset: usize,
    total: usize,
    link: &LinkBase,
    failures: &[String],
) -> io::Result<()> {
    let rss = xml.create_element("rss").with_attributes([("version", "2.0"), ("xmlns:torznab", NAMESPACE)]);
    rss.write_inner_content(|xml| {
        xml.create_element("channel").write_inner_content(|xml| {
            text(xml, "title", "regrip")?;
            text(xml, "description", "Releases of the peers")?;
            text(xml, "link", &link.base)?;
            element(xml, "torznab:response", &[("offset", offset.to_string()), ("total", total.to_string())])?;
            for failure in failures {
                // XML 1.0 §2.5: no two hyphens, and none at the end.
                let failure = clean(failure).replace('-', "- ");
                xml.write_event(Event::Comment(BytesText::from_escaped(format!(" {failure} "))))?;
            }
            page.iter().try_for_each(|listed| item(xml, listed, link))
        })?;
        Ok(())
    })?;
    Ok(())
}

fn item(xml: &mut Xml, listed: &FeedItem, link: &LinkBase) -> io::Result<()> {
    let (url, size) = (link.to(&listed.stub), listed.stub.length.to_string());
    xml.create_element("item").write_inner_content(|xml| {
        text(xml, "title", &clean(&listed.title))?;
        let guid = xml.create_element("guid").with_attribute(("isPermaLink", "false"));
        guid.write_text_content(BytesText::new(&listed.guid()))?;
        text(xml, "pubDate", &httpdate::fmt_http_date(listed.at))?;
        text(xml, "category", &listed.category.to_string())?;
        text(xml, "size", &size)?;
        text(xml, "link", &url)?;
        let enclosure = [("url", url), ("length", size), ("type", "application/x-bittorrent".to_owned())];
        element(xml, "enclosure", &enclosure)?;
        listed
            .attributes()
            .into_iter()
            .try_for_each(|(name, value)| element(xml, "torznab:attr", &[("name", name.to_owned()), ("value", value)]))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undated_release_keeps_the_date_of_its_first_appearance() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let dates = FirstListed::default();
        assert_eq!((dates.of("a:1", at(5)), dates.of("a:1", at(9)), dates.of("a:2", at(9))), (at(5), at(5), at(9)));
    }
}
