//! `regrip stub`: creates a stub, for tests and for users whose indexer creates none, or prints what one contains.

use super::output::{CommandResult, Exit, failed};
use crate::peers::id_of;
use crate::transport::Origin;
use clap::Subcommand;
use regrip_core::stub::LARGEST_BYTES;
use regrip_core::{SafeName, Stub};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub(crate) const STUB_EXAMPLES: &str = "\
Examples:
  regrip stub create --peer https://anna.example --item 42 --name Film --length 60000000000
  regrip stub inspect Film.torrent";

/// What to do with a stub.
#[derive(Debug, Subcommand)]
pub(crate) enum StubCommand {
    /// Create a stub; an existing file is not touched
    Create(StubCreate),
    /// Print the contents of a stub, or why it is not one (exit code 1)
    Inspect(StubInspect),
}

/// Arguments of `stub create`.
#[derive(Debug, clap::Args)]
pub(crate) struct StubCreate {
    /// The peer's URL, exactly as in the configuration of the server that gets the stub
    #[arg(long, value_name = "URL")]
    pub peer: String,

    /// The peer's id of the item
    #[arg(long, value_name = "ID")]
    pub item: String,

    /// A name to show; the peer's release names the file
    #[arg(long)]
    pub name: String,

    /// Size of the item in bytes
    #[arg(long, value_name = "N")]
    pub length: u64,

    /// The file to write [default: NAME.torrent]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `stub inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct StubInspect {
    /// The stub
    pub file: PathBuf,
}

/// Runs the command.
pub(super) fn main(args: &StubCommand) -> CommandResult {
    match args {
        StubCommand::Create(args) => create(args),
        StubCommand::Inspect(args) => inspect(args),
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
