//! A directory of which one file is anything at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::directory(bytes));
