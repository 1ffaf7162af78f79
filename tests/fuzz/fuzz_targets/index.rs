//! An index file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::fuzz::index(bytes));
