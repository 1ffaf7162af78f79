//! A leader that hands over.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::fuzz::transfer_request(bytes));
