//! The answer to a request for a vote.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::vote_response(bytes));
