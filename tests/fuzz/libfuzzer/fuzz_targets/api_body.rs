//! `cargo fuzz` on [`regrip_fuzz::api_body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::api_body(bytes));
