//! `cargo fuzz` on [`regrip_fuzz::form`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::form(bytes));
