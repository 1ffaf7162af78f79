//! A snapshot, as it travels and as it is kept.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::snapshot(bytes));
