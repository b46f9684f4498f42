//! `cargo fuzz` on [`regrip_fuzz::time`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::time(bytes));
