//! The blocks `peers`, `servers`, `regrip` and `share`.

use super::model::{Autoregister, ImportServer, ImportServerKind, Peer, ServerConfig, ShareKey, id_of};
use super::object::{Block, Node, Notes, base_url, flag, list, name, name_of_lines, number, path, text};
use super::secret::secret;
use crate::transport::{Header, Origin};
use std::path::PathBuf;

/// What carries a peer's or a server's key.
const API_KEY: &str = "X-Api-Key";

/// Reads `peers`.
pub(super) fn peers(node: &Node<'_>, notes: &mut Notes<'_>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
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
    peers
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

/// Reads `servers`.
pub(super) fn servers(node: &Node<'_>, notes: &mut Notes<'_>) -> Vec<ImportServer> {
    let mut servers: Vec<ImportServer> = Vec::new();
    for node in list(node, notes) {
        let Some(mut server) = import_server(&node, notes) else {
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
    servers
}

fn import_server(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<ImportServer> {
    const EXPECTED: &str = "\"radarr\" or \"sonarr\"";
    let mut block = Block::open(node, notes)?;
    let kind = block.need("type", EXPECTED, notes);
    let url = block.need("url", "an http or https URL", notes);
    let name = block.take("name").and_then(|node| name_of_lines(&node, notes));
    let import_path = block.take("importPath").and_then(|node| text(&node, notes));
    let import_path = import_path.filter(|path| !path.is_empty());
    let destination = block.take("destination").and_then(|node| flag(&node, notes)).unwrap_or(true);
    let autoregister = block.take("autoregister").and_then(|node| autoregister(&node, notes)).unwrap_or_default();
    let headers = headers(&mut block, notes);
    block.close(notes);
    let (kind, url) = (kind?, url?);
    let url = base_url(&url, notes);
    let kind = match text(&kind, notes)?.as_str() {
        "radarr" => ImportServerKind::Radarr,
        "sonarr" => ImportServerKind::Sonarr,
        _ => {
            kind.refuse(EXPECTED, notes);
            return None;
        }
    };
    let name = name.unwrap_or_else(|| kind.name().to_owned());
    Some(ImportServer { kind, name, url: url?, headers, import_path, destination, autoregister })
}

fn autoregister(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<Autoregister> {
    let mut block = Block::open(node, notes)?;
    let mut read = Autoregister::default();
    if let Some(enable) = block.take("enable").and_then(|node| flag(&node, notes)) {
        read.enable = enable;
    }
    if let Some(node) = block.take("priority") {
        match number(&node, notes) {
            Some(priority) if (1..=50).contains(&priority) => read.priority = priority,
            Some(found) => node.refuse_found(&found.to_string(), "a number from 1 to 50", notes),
            None => {}
        }
    }
    block.close(notes);
    Some(read)
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
            Some(Err(_)) => address.refuse("an address and a port, such as \"127.0.0.1:5225\"", notes),
            None => {}
        }
    }
    let key = block.take("apiKey");
    server.api_key = key.as_ref().and_then(|key| secret(key, notes));
    let data_dir = block.take("dataDir");
    server.data_dir = data_dir.and_then(|folder| path(&folder, notes));
    server.internal_url = block.take("internalUrl").and_then(|url| base_url(&url, notes));
    if let Some(keys) = block.take("shareKeys") {
        let keys = list(&keys, notes);
        server.share_keys = keys.iter().filter_map(|key| share_key(key, notes)).collect();
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
