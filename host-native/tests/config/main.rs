//! The configuration of the server: what it means, and how its errors read.

mod errors;
mod example;
mod secrets;
mod support;
mod sweep;
mod takes;
