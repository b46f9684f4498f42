//! The binary itself: what is typed, what is seen, what is on the disk afterwards.

mod addresses;
mod bad_input;
mod busy_server;
mod check_config;
mod credentials;
mod demo_web;
mod downloads;
mod existing;
mod faults;
mod file_options;
mod get;
mod kill;
mod list;
mod locks;
mod manual;
mod metalink;
mod network;
mod new_url;
mod pause;
#[path = "../proxy/mod.rs"]
mod proxy;
mod secrets;
mod server;
mod share;
mod stream;
mod stub;
mod support;
mod surroundings;
mod typed;
mod verbose;
