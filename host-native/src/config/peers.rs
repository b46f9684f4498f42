//! The blocks `peers`, `servers`, `regrip` and `share`.

use super::link;
use super::model::{
    Autoregister, Config, External, ImportServer, ImportServerKind, Peer, Postgres, ServerConfig, ShareKey, id_of,
};
use super::object::{
    Block, Node, Notes, Secret, base_url, flag, list, name, name_of_lines, number, path, secret, text,
};
use crate::transport::{Header, Origin};
use std::path::PathBuf;
use std::time::Duration;

/// What carries a peer's or a server's key.
const API_KEY: &str = "X-Api-Key";

/// Reads `peers`.
pub(super) fn peers(node: &Node<'_>, peers: &mut Vec<Peer>, notes: &mut Notes<'_>) {
    for node in list(node, notes) {
        let Some(peer) = peer(&node, notes) else {
            continue;
        };
        let twin = peers.iter().find(|other| other.origin == peer.origin);
        if let Some(twin) = twin {
            // Credentials are sent to an origin: each peer would see the other's.
            let what = format!("found {}, expected an origin of its own", twin.origin);
            notes.error(node.at, &format!("{}.url", node.key), what);
        }
        peers.push(peer);
    }
}

fn peer(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<Peer> {
    let mut block = Block::open(node, notes)?;
    let url = block.need("url", "an http or https URL", notes);
    let name = block.take("name").and_then(|node| name(&node, notes));
    let headers = headers(&mut block, notes);
    block.close(notes);
    let url = base_url(&url?, notes)?;
    let origin: Origin = url.parse().ok()?;
    Some(Peer { name: name.unwrap_or_else(|| origin.to_string()), id: id_of(&url), url, origin, headers })
}

/// What a server is unless it says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roles {
    pub(super) source: bool,
    pub(super) autoregister: Autoregister,
}

/// Reads `servers`.
pub(super) fn servers(node: &Node<'_>, roles: Roles, servers: &mut Vec<ImportServer>, notes: &mut Notes<'_>) {
    for node in list(node, notes) {
        let Some(mut server) = import_server(&node, roles, notes) else {
            continue;
        };
        // Import results are recorded by name.
        let name = server.name.clone();
        let mut number = 1;
        while servers.iter().any(|other| other.name == server.name) {
            number += 1;
            server.name = format!("{name} {number}");
        }
        servers.push(server);
    }
}

/// Reads `servers` of jack's first versions: lists by role, and one `indexer` block for all destinations. Their sources were
/// Jellyfin servers, which say nothing of releases.
pub(super) fn servers_by_role(node: &Node<'_>, indexer: Option<&Node<'_>>, config: &mut Config, notes: &mut Notes<'_>) {
    let Some(mut block) = Block::open(node, notes) else {
        return;
    };
    let mut autoregister = Autoregister::default();
    if let Some(indexer) = indexer
        && let Some(mut indexer) = Block::open(indexer, notes)
    {
        read_autoregister(&mut indexer, "autoRegister", &mut autoregister, notes);
        indexer.close(notes);
    }
    for source in block.take("sources").map(|node| list(&node, notes)).unwrap_or_default() {
        notes.warn(
            source.at,
            &source.key,
            "is not used by regrip and is ignored: servers that share are Radarr and Sonarr",
        );
    }
    if let Some(node) = block.take("destinations") {
        let roles = Roles { source: false, autoregister };
        servers(&node, roles, &mut config.import_servers, notes);
    }
    if let Some(node) = block.take("peers") {
        peers(&node, &mut config.peers, notes);
    }
    block.close(notes);
}

fn read_autoregister(block: &mut Block<'_>, enable: &str, into: &mut Autoregister, notes: &mut Notes<'_>) {
    if let Some(enable) = block.take(enable).and_then(|node| flag(&node, notes)) {
        into.enable = enable;
    }
    if let Some(node) = block.take("priority") {
        match number(&node, notes) {
            Some(priority) if (1..=50).contains(&priority) => into.priority = priority,
            Some(found) => node.refuse_found(&found.to_string(), "a number from 1 to 50", notes),
            None => {}
        }
    }
}

fn import_server(node: &Node<'_>, roles: Roles, notes: &mut Notes<'_>) -> Option<ImportServer> {
    const EXPECTED: &str = "\"radarr\" or \"sonarr\"";
    let mut block = Block::open(node, notes)?;
    let kind = block.need("type", EXPECTED, notes);
    let url = block.need("url", "an http or https URL", notes);
    let name = block.take("name").and_then(|node| name_of_lines(&node, notes));
    let import_path = block.take("importPath").and_then(|node| text(&node, notes));
    let import_path = import_path.filter(|path| !path.is_empty());
    let headers = headers(&mut block, notes);
    let source = block.take("source").and_then(|node| flag(&node, notes)).unwrap_or(roles.source);
    let destination = block.take("destination").and_then(|node| flag(&node, notes)).unwrap_or(true);
    let path_mapping = block.take("pathMapping").map(|node| path_mapping(&node, notes)).unwrap_or_default();
    let mut autoregister = roles.autoregister;
    if let Some(node) = block.take("autoregister")
        && let Some(mut block) = Block::open(&node, notes)
    {
        read_autoregister(&mut block, "enable", &mut autoregister, notes);
        block.close(notes);
    }
    block.close(notes);
    let (kind, url) = (kind?, url?);
    let url = base_url(&url, notes);
    let kind = match text(&kind, notes)?.as_str() {
        "radarr" => ImportServerKind::Radarr,
        "sonarr" => ImportServerKind::Sonarr,
        _ => {
            kind.refuse_word(EXPECTED, notes);
            return None;
        }
    };
    let name = name.unwrap_or_else(|| kind.name().to_owned());
    Some(ImportServer { kind, name, url: url?, headers, import_path, source, path_mapping, destination, autoregister })
}

/// Absolute paths of a server's library, of Unix or Windows, each with the path here.
fn path_mapping(node: &Node<'_>, notes: &mut Notes<'_>) -> Vec<(String, PathBuf)> {
    let Some(mut block) = Block::open(node, notes) else {
        return Vec::new();
    };
    let mut mapping = Vec::new();
    for (there, node) in block.rest() {
        let is_absolute = there.starts_with(['/', '\\']) || there.get(1..2) == Some(":");
        if !is_absolute {
            let what = format!("found {there:?}, expected an absolute path of the server's library before the colon");
            notes.error(node.at, &node.key, what);
        }
        if let Some(here) = path(&node, notes) {
            mapping.push((there, here));
        }
    }
    mapping
}

/// `apiKey` and `headers`, ready to be sent. The key is not overridden by a header of its name.
fn headers(block: &mut Block<'_>, notes: &mut Notes<'_>) -> Vec<Header> {
    let mut ready = Vec::new();
    if let Some(key) = block.take("apiKey")
        && let Some(secret) = secret(&key, notes)
    {
        add(API_KEY, secret.reveal(), &key, &mut ready, notes);
    }
    let Some(all) = block.take("headers") else {
        return ready;
    };
    let Some(mut others) = Block::open_private(&all, notes) else {
        return ready;
    };
    for (name, node) in others.rest() {
        if name.eq_ignore_ascii_case(API_KEY) && !ready.is_empty() {
            let key = format!("{}.{name}", all.key);
            notes.warn(node.at, &key, "is ignored: the apiKey is sent");
            continue;
        }
        if let Some(secret) = secret(&node, notes) {
            add(&name, secret.reveal(), &node, &mut ready, notes);
        }
    }
    ready
}

fn add(name: &str, value: &str, node: &Node<'_>, ready: &mut Vec<Header>, notes: &mut Notes<'_>) {
    match Header::new(name, value) {
        Ok(header) => ready.push(header),
        Err(refused) => {
            let what = format!("found a header that cannot be sent: {}", refused.why);
            notes.error(node.at, &node.key, what);
        }
    }
}

/// Reads the `regrip` block.
pub(super) fn server(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<ServerConfig> {
    let mut block = Block::open(node, notes)?;
    let mut server = ServerConfig::default();
    let listen = block.take("listen");
    if let Some(address) = &listen {
        match text(address, notes).map(|address| address.parse()) {
            Some(Ok(listen)) => server.listen = listen,
            Some(Err(_)) => address.refuse_word("an address and a port, such as \"127.0.0.1:5225\"", notes),
            None => {}
        }
    }
    let key = block.take("apiKey");
    server.api_key = key.as_ref().and_then(|key| secret(key, notes));
    let data_dir = block.take("dataDir");
    server.data_dir = data_dir.and_then(|folder| path(&folder, notes));
    server.postgres = block.take("ledger").and_then(|node| postgres(&node, notes));
    if let Some(keys) = block.take("shareKeys") {
        let keys = list(&keys, notes);
        server.share_keys = keys.iter().filter_map(|key| share_key(key, notes)).collect();
    }
    // jack's name for it in its first versions.
    let (internal, earlier) = (block.take("internalUrl"), block.take("baseUrl"));
    server.internal_url = internal.or(earlier).and_then(|url| base_url(&url, notes));
    server.external = block.take("external").and_then(|node| external(&node, notes));
    let s3 = block.take("s3");
    #[cfg(feature = "fleet")]
    {
        server.s3 = s3.and_then(|node| object_storage(&node, notes));
    }
    #[cfg(not(feature = "fleet"))]
    if let Some(node) = s3 {
        notes.error(node.at, &node.key, "this build of regrip has no object storage");
    }
    block.close(notes);
    if let Some(listen) = listen
        && key.is_none()
        && !server.listen.ip().is_loopback()
    {
        notes.warn(listen.at, &listen.key, "without an apiKey only this machine is served");
    }
    Some(server)
}

/// Reads `s3`. Without an endpoint it is Amazon's, which needs a region.
#[cfg(feature = "fleet")]
fn object_storage(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<crate::store::S3Settings> {
    let mut block = Block::open(node, notes)?;
    let endpoint = block.take("endpoint").map(|node| base_url(&node, notes));
    let region = block.take("region").and_then(|node| text(&node, notes));
    let key = block.need("accessKey", "the id of an access key", notes).and_then(|node| secret(&node, notes));
    let secret = block.need("secretKey", "the secret of that key", notes).and_then(|node| secret(&node, notes));
    let path_style = block.take("pathStyle").and_then(|node| flag(&node, notes));
    block.close(notes);
    let endpoint = match endpoint {
        Some(None) => return None, // that was noted
        Some(endpoint) => endpoint,
        None => None,
    };
    let keys = (key?.reveal().to_owned(), secret?.reveal().to_owned(), None);
    crate::store::S3Settings::new(endpoint.as_deref(), region, keys, path_style)
        .map_err(|(name, why)| notes.error(node.at, &format!("{}.{name}", node.key), why))
        .ok()
}

/// A lease that is shorter could not be extended in time over a slow network; a longer one keeps others waiting too long.
const LEASE_MS: std::ops::RangeInclusive<u64> = 2_000..=3_600_000;

fn postgres(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<Postgres> {
    let mut block = Block::open(node, notes)?;
    let (at, lease) = (block.need("postgres", "a database's URL", notes), block.take("leaseMs"));
    block.close(notes);
    let mut lease_ms = 30_000;
    if let Some(lease) = lease {
        match number(&lease, notes) {
            Some(ms) if LEASE_MS.contains(&ms) => lease_ms = ms,
            Some(ms) => lease.refuse_found(&ms.to_string(), "2000 to 3600000 ms", notes),
            None => {}
        }
    }
    let at = at?;
    let url = secret(&at, notes)?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
        notes.error(at.at, &at.key, "expected postgres://USER:PASSWORD@HOST/DATABASE");
        return None;
    }
    Some(Postgres { url, lease: Duration::from_millis(lease_ms) })
}

fn external(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<External> {
    let mut block = Block::open(node, notes)?;
    let url = block.need("url", "an http or https URL", notes);
    let instance_name = block.take("instanceName").and_then(|node| {
        let name = name(&node, notes)?;
        if name.chars().count() > link::LONGEST_NAME {
            node.refuse("a name of at most 100 characters", notes);
        }
        Some(name.trim().to_owned())
    });
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let given = block.take("headers");
    if let Some(given) = &given
        && let Some(mut block) = Block::open_private(given, notes)
    {
        for (name, node) in block.rest() {
            let Some(value) = secret(&node, notes) else {
                continue;
            };
            match link::check_header(&name, value.reveal(), headers.iter().map(|(name, _)| name.as_str())) {
                Ok(_) => headers.push((name, value)),
                Err(why) => notes.error(node.at, &node.key, format!("found a header that cannot be sent: {why}")),
            }
        }
    }
    block.close(notes);
    Some(External { instance_name, url: base_url(&url?, notes)?, headers })
}

fn share_key(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<ShareKey> {
    let mut block = Block::open(node, notes)?;
    let whose = block.need("name", "whose key it is", notes);
    let key = block.need("apiKey", "a secret", notes);
    block.close(notes);
    let (whose, key) = (whose?, key?);
    let (name, api_key) = (name(&whose, notes), secret(&key, notes));
    Some(ShareKey { name: name?, api_key: api_key? })
}

/// Reads `share`: folders.
pub(super) fn share(node: &Node<'_>, notes: &mut Notes<'_>) -> Vec<PathBuf> {
    let folders = list(node, notes);
    folders.iter().filter_map(|folder| path(folder, notes)).collect()
}
