//! `regrip add`: has a running server download a URL.

use super::args::Add;
use super::backend::server;
use super::{Told, print, tell};
use crate::cli::{Exit, text};
use serde_json::json;

/// Runs the command.
pub(crate) fn add(args: &Add) -> Exit {
    let server = match server(&args.place) {
        Ok(server) => server,
        Err((exit, text)) => {
            say!("regrip: {text}");
            return exit;
        }
    };
    let added = server.add(&args.url, args.name.as_deref(), args.sha256.as_deref());
    let (download, known) = match smol::block_on(added) {
        Ok(added) => added,
        Err(fault) => {
            let told = Told::from(fault);
            tell(&told, None);
            return told.exit();
        }
    };
    if args.json {
        return print([json!(download).to_string()]);
    }
    let (id, status) = (download.id, download.status.name());
    let path = text::plain(&download.dest_path);
    match known {
        true => say!("download {id} is known, and {status}: {path}"),
        false => say!("download {id} is {status}: {path}"),
    }
    Exit::Done
}
