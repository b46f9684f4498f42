//! `cargo fuzz` on [`regrip_fuzz::attempt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::attempt(bytes));
