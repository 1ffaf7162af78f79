//! A commit slot.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::fuzz::commit_slot(bytes));
