//! `cargo fuzz` on [`regrip_fuzz::quick_link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::quick_link(bytes));
