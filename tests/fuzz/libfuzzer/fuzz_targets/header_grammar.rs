//! `cargo fuzz` on [`regrip_fuzz::header_grammar`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::header_grammar(bytes));
