//! The command `dledger-faults`.

fn main() {}
