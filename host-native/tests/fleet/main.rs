//! Several `regrip serve` on one Postgres: the real binary, and the database that `tests/fleet/run` started.
#![cfg(feature = "fleet")]

mod access;
mod client;
mod commands;
mod events;
#[allow(dead_code)] // what other tests use of it
#[path = "../serve/house.rs"]
mod house;
mod limits;
#[allow(dead_code)]
#[path = "../serve/peer.rs"]
mod peer;
#[allow(dead_code)]
#[path = "../support/postgres.rs"]
mod postgres;
mod start;
mod support;
mod takeover;
