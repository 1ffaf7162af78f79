//! The answer to an append.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::append_response(bytes));
