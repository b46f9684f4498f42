//! `cargo fuzz` on [`regrip_fuzz::metalink`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::metalink(bytes));
