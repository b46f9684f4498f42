//! The binary itself: what is typed, what is seen, what is on the disk afterwards.

mod bad_input;
mod faults;
mod get;
mod kill;
mod stub;
mod support;
