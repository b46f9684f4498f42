//! `cargo fuzz` on [`regrip_fuzz::name`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::name(bytes));
