//! `cargo fuzz` on [`regrip_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::config(bytes));
