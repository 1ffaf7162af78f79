//! A segment header.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::fuzz::segment_header(bytes));
