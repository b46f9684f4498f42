//! Folders shared over a real socket: what goes on the wire, who is let in, and how a download ends.

mod access;
#[path = "../support/client.rs"]
mod client;
mod crowd;
mod digests;
mod end_to_end;
mod files;
mod left_out;
mod limits;
mod support;
mod versions;
