//! `cargo fuzz` on [`regrip_fuzz::release`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::release(bytes));
