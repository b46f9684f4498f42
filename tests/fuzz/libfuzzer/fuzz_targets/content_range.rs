//! `cargo fuzz` on [`regrip_fuzz::content_range_value`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::content_range_value(bytes));
