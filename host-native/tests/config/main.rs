//! The configuration of the server: what it means, and how its errors read.

mod errors;
mod example;
mod jack;
mod secrets;
mod support;
mod sweep;
mod takes;
