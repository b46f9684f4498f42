//! `/api/keys`, `/api/links` and the changes of `/api/peers`.
//!
//! Invariant: a key is in one answer, that to the request which issued it.

use super::{Api, Handled};
use crate::config::{EditRefused, External, Secret, add_peer, load, remove_peer};
use crate::control::SettingsFile;
use crate::ledger::{NativeLedger, PeerKey};
use crate::peers::{LinkRefused, PeerClient, QuickLink};
use crate::server::{Asked, Payload, Refusal, Reply};
use crate::share::issue;
use crate::time::rfc3339;
use hyper::StatusCode;
use regrip_core::display_url;
use regrip_core::error::chain;
use serde::Deserialize;
use serde_json::{Value, json};
use smol::Timer;
use smol::future::FutureExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a change of the configuration may take to be in force, before its request is answered all the same.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a peer has to answer a test.
const TEST_WITHIN: Duration = Duration::from_secs(20);

/// A key as it is shown: all but the key.
pub(crate) fn shown_key(key: &PeerKey) -> Value {
    json!({
        "id": key.id,
        "name": key.new.name,
        "created_at": rfc3339(key.new.created_at),
        "expires_at": key.new.expires_at.map(rfc3339),
        "last_used_at": key.last_used_at.map(rfc3339),
        "revoked_at": key.revoked_at.map(rfc3339),
    })
}

pub(super) async fn keys<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let _turn = api.turns.acquire().await;
    let keys = api.control.ledger().peer_keys().await?;
    let keys: Vec<_> = keys.iter().map(shown_key).collect();
    Ok(Reply::json(&json!({ "keys": keys })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    expires_at: Option<String>,
}

/// Issues a key: the key itself, and how it is shown.
async fn issue_key<L: NativeLedger>(api: &Arc<Api<L>>, wish: NewKey) -> Result<(String, Value), Refusal> {
    let end = wish.expires_at.map(|at| {
        let read = humantime::parse_rfc3339_weak(&at);
        read.map_err(|_| {
            Refusal::bad_request("expires_at is not a time such as 2027-01-31T00:00:00Z").about("expires_at")
        })
    });
    let (key, new) = issue(&wish.name, end.transpose()?).map_err(|why| Refusal::bad_request(why).about("name"))?;
    let ledger = api.control.ledger().clone();
    let added = api.change(async move { ledger.add_peer_key(new).await }).await?;
    let added = added.ok_or_else(|| conflict("KeyExists", "a key in force has this name").about("name"))?;
    Ok((key, shown_key(&added)))
}

fn conflict(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, code, message)
}

pub(super) async fn create_key<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let wish = asked.json().await?;
    let (key, mut shown) = issue_key(&api, wish).await?;
    shown["key"] = key.into();
    Ok(Reply::json_with(StatusCode::CREATED, &shown))
}

pub(super) async fn revoke_key<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let id: Option<i64> = asked.captured().parse().ok();
    let id = id.ok_or_else(no_key)?;
    let ledger = api.control.ledger().clone();
    match api.change(async move { ledger.revoke_peer_key(id, SystemTime::now()).await }).await? {
        true => Ok(Reply::new(StatusCode::NO_CONTENT, Payload::Empty)),
        false => Err(no_key()),
    }
}

fn no_key() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey", "there is no key in force with this id")
}

impl From<LinkRefused> for Refusal {
    fn from(refused: LinkRefused) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "LinkRefused", refused.to_string()).about("link")
    }
}

impl From<EditRefused> for Refusal {
    fn from(refused: EditRefused) -> Refusal {
        let (status, code) = match refused {
            EditRefused::Known(_) => (StatusCode::CONFLICT, "PeerExists"),
            EditRefused::Changed => (StatusCode::CONFLICT, "ConfigurationChanged"),
            EditRefused::Wrong(_) | EditRefused::Shape => (StatusCode::CONFLICT, "ConfigurationWrong"),
            EditRefused::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "ConfigurationUnwritable"),
        };
        Refusal::new(status, code, refused.to_string())
    }
}

fn settings_file<L: NativeLedger>(api: &Api<L>) -> Result<&SettingsFile, Refusal> {
    let file = api.control.settings_file();
    file.ok_or_else(|| conflict("NoConfiguration", "this server has no configuration file"))
}

/// A link for a peer, with a key of its own. Nothing is issued if there would be no link.
pub(super) async fn create_link<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let wish: NewKey = asked.json().await?;
    let config = load(&settings_file(&api)?.path).map_err(EditRefused::from)?.config;
    let link = link_of(config.server.external.as_ref(), String::new());
    let mut link = link.map_err(|refused| conflict("NoExternalUrl", refused.to_string()))?;
    let (key, shown) = issue_key(&api, wish).await?;
    link.api_key = Secret::checked(key).map_err(Refusal::bad_request)?;
    Ok(Reply::json_with(StatusCode::CREATED, &json!({ "link": link.write()?, "key": shown })))
}

/// The link to this server, checked, with `key` or, without one, with one of the same length.
///
/// # Errors
/// What is missing in the configuration, or wrong for a link.
pub(crate) fn link_of(external: Option<&External>, key: String) -> Result<QuickLink, LinkRefused> {
    let external = external.ok_or_else(|| {
        LinkRefused("regrip.external is not configured: its url is how peers reach this server".to_owned())
    })?;
    let key = if key.is_empty() { format!("regrip_{}", "0".repeat(64)) } else { key };
    let link = QuickLink {
        name: external.instance_name.clone().unwrap_or_else(|| "regrip".to_owned()),
        url: external.url.clone(),
        api_key: Secret::checked(key).map_err(|why| LinkRefused(why.to_owned()))?,
        headers: external.headers.clone(),
    };
    link.write().map(|_| link)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Linked {
    link: String,
}

/// What a link says, to be confirmed: all but its secrets.
pub(super) async fn read_link<L: NativeLedger>(_: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let Linked { link } = asked.json().await?;
    let link = QuickLink::read(&link)?;
    let names: Vec<_> = link.headers.iter().map(|(name, _)| name).collect();
    Ok(Reply::json(&json!({ "name": link.name, "url": display_url(&link.url), "header_names": names })))
}

/// A peer to add, by its link or by its fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewPeer {
    link: Option<String>,
    name: Option<String>,
    url: Option<String>,
    api_key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl fmt::Debug for NewPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NewPeer")
    }
}

impl NewPeer {
    fn read(self) -> Result<QuickLink, Refusal> {
        match (self.link, self.url, self.api_key) {
            (Some(link), None, None) if self.headers.is_empty() => {
                let link = QuickLink::read(&link)?;
                let name = self.name.unwrap_or(link.name);
                Ok(QuickLink { name, ..link }.checked()?)
            }
            (None, Some(url), Some(key)) => {
                let name = self.name.unwrap_or_else(|| display_url(&url));
                Ok(QuickLink::of(name, url, key, self.headers.into_iter().collect())?)
            }
            _ => Err(Refusal::bad_request("a peer is either a link or url and apiKey")),
        }
    }
}

pub(super) async fn add<L: NativeLedger>(api: Arc<Api<L>>, mut asked: Asked) -> Handled {
    let new: NewPeer = asked.json().await?;
    let peer = new.read()?;
    let file = settings_file(&api)?;
    let path = file.path.clone();
    let id = smol::unblock(move || add_peer(&path, &peer)).await?;
    (file.reload)();
    until_in_force(&api, id.as_str(), true).await;
    Ok(Reply::json_with(StatusCode::CREATED, &json!({ "id": id.as_str() })))
}

pub(super) async fn remove<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let file = settings_file(&api)?;
    let (path, id) = (file.path.clone(), asked.captured().to_owned());
    let found = smol::unblock(move || remove_peer(&path, &id)).await?;
    if !found {
        return Err(no_peer());
    }
    (file.reload)();
    until_in_force(&api, asked.captured(), false).await;
    Ok(Reply::new(StatusCode::NO_CONTENT, Payload::Empty))
}

fn no_peer() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NoSuchPeer", "no peer with this id is configured")
}

async fn until_in_force<L: NativeLedger>(api: &Api<L>, id: &str, wanted: bool) {
    let is_known = || api.control.peers().list().iter().any(|card| card.id == id);
    let mut waited = Duration::ZERO;
    while is_known() != wanted && waited < IN_FORCE_WITHIN {
        Timer::after(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

/// Asks a peer for a handshake and a search, once.
pub(super) async fn test<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let config = load(&settings_file(&api)?.path).map_err(EditRefused::from)?.config;
    let peer = config.peers.into_iter().find(|peer| peer.id.as_str() == asked.captured()).ok_or_else(no_peer)?;
    let id = peer.id.as_str().to_owned();
    let client = PeerClient::new(api.control.engine().clone(), peer);
    let late = async {
        Timer::after(TEST_WITHIN).await;
        Err(format!("no answer within {} s", TEST_WITHIN.as_secs()))
    };
    let tested = async { client.test().await.map_err(|error| chain(&error)) };
    let (peers, now) = (api.control.peers(), SystemTime::now());
    Ok(Reply::json(&match tested.or(late).await {
        Ok(version) => {
            peers.answered(&id, version.clone(), now);
            json!({ "ok": true, "version": version, "error": null })
        }
        Err(why) => {
            peers.failed(&id, why.clone(), now);
            json!({ "ok": false, "version": null, "error": why })
        }
    }))
}
