//! The `regrip` block and `share`.

use super::diagnostics::Notes;
use super::load::Surroundings;
use super::model::{Server, ShareKey};
use super::object::Block;
use super::secret::secret;
use super::value::{Node, list, name, path, text};
use std::path::PathBuf;

/// Reads the `regrip` block.
pub(super) fn server(
    node: &Node<'_>,
    around: &Surroundings<'_>,
    notes: &mut Notes,
) -> Option<Server> {
    let mut block = Block::open(node, notes)?;
    let mut server = Server::default();
    let listen = block.take("listen");
    if let Some(address) = &listen {
        match text(address, notes).map(|address| address.parse()) {
            Some(Ok(listen)) => server.listen = listen,
            Some(Err(_)) => {
                address.refuse("an address and a port, such as \"127.0.0.1:5225\"", notes)
            }
            None => {}
        }
    }
    let key = block.take("apiKey");
    server.api_key = key.as_ref().and_then(|key| secret(key, around, notes));
    let data_dir = block.take("dataDir");
    server.data_dir = data_dir.and_then(|folder| path(&folder, around.folder, notes));
    if let Some(keys) = block.take("shareKeys") {
        let keys = list(&keys, notes);
        server.share_keys = keys
            .iter()
            .filter_map(|key| share_key(key, around, notes))
            .collect();
    }
    block.close(notes);
    if let Some(listen) = listen
        && key.is_none()
        && !server.listen.ip().is_loopback()
    {
        notes.warn(
            listen.at,
            &listen.key,
            "without an apiKey only this machine is served",
        );
    }
    Some(server)
}

fn share_key(node: &Node<'_>, around: &Surroundings<'_>, notes: &mut Notes) -> Option<ShareKey> {
    let mut block = Block::open(node, notes)?;
    let whose = block.need("name", "whose key it is", notes);
    let key = block.need("apiKey", "a secret", notes);
    block.close(notes);
    let (whose, key) = (whose?, key?);
    let (name, api_key) = (name(&whose, notes), secret(&key, around, notes));
    Some(ShareKey {
        name: name?,
        api_key: api_key?,
    })
}

/// Reads `share`: folders.
pub(super) fn share(node: &Node<'_>, around: &Surroundings<'_>, notes: &mut Notes) -> Vec<PathBuf> {
    let folders = list(node, notes);
    folders
        .iter()
        .filter_map(|folder| path(folder, around.folder, notes))
        .collect()
}
