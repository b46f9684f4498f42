//! `cargo fuzz` on [`regrip_fuzz::bencode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::bencode(bytes));
