//! Why a peer call was refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dledger::seams::laws::refusal(bytes));
