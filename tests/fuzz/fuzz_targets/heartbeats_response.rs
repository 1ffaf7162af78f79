//! The answers to heartbeats of several ledgers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::heartbeats_response(bytes));
