//! A whole segment through the recovery scan.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::segment(bytes));
