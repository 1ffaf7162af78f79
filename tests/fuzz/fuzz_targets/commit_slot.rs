//! A commit slot.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::commit_slot(bytes));
