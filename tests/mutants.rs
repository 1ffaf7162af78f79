//! The command that is built for use has none of the bugs that tests can plant.

#![allow(clippy::unwrap_used, reason = "test code: a failure is the finding")]

/// What names a bug; a program that does not know it cannot have one.
const SWITCH: &[u8] = b"DLEDGER_MUTANT";

#[test]
fn the_command_knows_the_switch_only_if_it_was_asked_for() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_dledger")).unwrap();
    let knows = program.windows(SWITCH.len()).any(|bytes| bytes[0] == SWITCH[0] && bytes == SWITCH);
    assert_eq!(knows, cfg!(feature = "mutants"));
}
