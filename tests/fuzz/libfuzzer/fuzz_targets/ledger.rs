//! `cargo fuzz` on [`regrip_fuzz::ledger`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regrip_fuzz::ledger(bytes));
