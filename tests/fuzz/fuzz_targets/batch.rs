//! The body of a batch.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::batch(bytes));
