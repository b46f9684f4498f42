//! `regrip stub inspect`: the contents of a stub, or why it is not valid.

use crate::cli::Exit;
use crate::cli::args::StubInspect;
use regrip_core::Stub;
use regrip_core::stub::LARGEST_BYTES;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(super) fn main(args: &StubInspect) -> Exit {
    let file = args.file.display();
    let bytes = match read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            say!("regrip: cannot read {file}: {error}");
            return Exit::Usage;
        }
    };
    match Stub::read(&bytes) {
        Ok(stub) => {
            out!("peer    {}", stub.peer);
            out!("item    {}", stub.item);
            out!("name    {}", stub.name);
            out!("length  {}", stub.length);
            Exit::Done
        }
        Err(refused) => {
            say!("regrip: {file} is no stub: {refused}");
            Exit::Failed
        }
    }
}

/// No more of it than tells that it is too large.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(LARGEST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
