//! The answer to a leader that hands over.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::transfer_response(bytes));
