//! `regrip stub`: creates a stub, for tests and for users whose indexer creates none, or prints what one contains.

use super::args::{self, StubCreate, StubInspect};
use super::output::{CommandResult, Exit, failed};
use crate::peers::id_of;
use crate::transport::Origin;
use regrip_core::stub::LARGEST_BYTES;
use regrip_core::{SafeName, Stub};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Runs the command.
pub(super) fn main(args: &args::Stub) -> CommandResult {
    match args {
        args::Stub::Create(args) => create(args),
        args::Stub::Inspect(args) => inspect(args),
    }
}

fn create(args: &StubCreate) -> CommandResult {
    let (stub, file) = read_args(args).map_err(|text| (Exit::Usage, text))?;
    let what = format!("cannot write {}", file.display());
    // An existing file is not touched.
    File::create_new(&file)
        .and_then(|mut file| file.write_all(&stub.write()))
        .map_err(failed(Exit::Unusable, &what))?;
    out!("{}", file.display());
    Ok(Exit::Done)
}

/// The stub, and the file it goes to.
fn read_args(args: &StubCreate) -> Result<(Stub, PathBuf), String> {
    if args.peer.parse::<Origin>().is_err() {
        return Err(format!("--peer {} is not an http or https URL", regrip_core::display_url(&args.peer)));
    }
    let stub =
        Stub::new(id_of(&args.peer), &args.item, &args.name, args.length).map_err(|refused| refused.to_string())?;
    let file = match &args.output {
        Some(file) => file.clone(),
        None => {
            let name = format!("{}.torrent", args.name);
            let name = SafeName::new(&name).map_err(|error| format!("{error}; name it by -o FILE"))?;
            PathBuf::from(name.as_str())
        }
    };
    Ok((stub, file))
}

fn inspect(args: &StubInspect) -> CommandResult {
    let file = args.file.display();
    let bytes = read(&args.file).map_err(failed(Exit::Usage, &format!("cannot read {file}")))?;
    let stub = Stub::read(&bytes).map_err(failed(Exit::Failed, &format!("{file} is not a stub")))?;
    out!("peer    {}", stub.peer);
    out!("item    {}", stub.item);
    out!("name    {}", stub.name);
    out!("length  {}", stub.length);
    Ok(Exit::Done)
}

/// Reads a file, at most one byte more than a stub may have.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
