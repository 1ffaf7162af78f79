//! Asks up to where a read must have seen the log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::read_index_request(bytes));
