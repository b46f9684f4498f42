//! `cargo fuzz` on [`regrip_fuzz::checksums`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::checksums(bytes));
