//! Object storage. `tests/fleet/s3` starts the storage and runs these.

mod bad_input;
mod contract;
mod get;
#[path = "../serve/peer.rs"]
#[allow(dead_code, reason = "the tests of the server use more of it")]
mod peer;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "the tests of the fleet use more of it")]
mod postgres;
mod serve;
mod storage;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "the tests of the command use more of it")]
mod support;
