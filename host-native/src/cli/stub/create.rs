//! `regrip stub create`: for whoever has no indexer that makes stubs, and for tests.

use crate::cli::Exit;
use crate::cli::args::StubCreate;
use crate::peers::id_of;
use crate::transport::Origin;
use regrip_core::{SafeName, Stub};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

pub(super) fn main(args: &StubCreate) -> Exit {
    let (stub, file) = match meant(args) {
        Ok(meant) => meant,
        Err(error) => {
            say!("regrip: {error}");
            return Exit::Usage;
        }
    };
    match write(&file, &stub.write()) {
        Ok(()) => {
            out!("{}", file.display());
            Exit::Done
        }
        Err(error) => {
            say!("regrip: cannot write {}: {error}", file.display());
            Exit::Unusable
        }
    }
}

/// What the arguments mean: a stub, and where it goes.
fn meant(args: &StubCreate) -> Result<(Stub, PathBuf), String> {
    if args.peer.parse::<Origin>().is_err() {
        return Err(format!(
            "--peer {} is not an http or https URL",
            regrip_core::display_url(&args.peer)
        ));
    }
    let stub = Stub::new(id_of(&args.peer), &args.item, &args.name, args.length)
        .map_err(|refused| refused.to_string())?;
    let file = match &args.output {
        Some(file) => file.clone(),
        None => {
            let name = format!("{}.torrent", args.name);
            let name =
                SafeName::new(&name).map_err(|error| format!("{error}; name it by -o FILE"))?;
            PathBuf::from(name.as_str())
        }
    };
    Ok((stub, file))
}

/// A file that is there is not touched.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::create_new(file)?.write_all(bytes)
}
