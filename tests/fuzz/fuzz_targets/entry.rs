//! An entry header, and the entry behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::entry(bytes));
