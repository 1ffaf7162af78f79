//! A leader that hands over.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::transfer_request(bytes));
