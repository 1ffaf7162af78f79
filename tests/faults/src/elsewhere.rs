//! What `dledger-faults` can be told where it cannot break anything: to judge.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::check::Check;

/// Judges histories. The fault tests themselves break processes, networks and disks, and know how on Linux only.
#[derive(Debug, Parser)]
#[command(name = "dledger-faults", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
}

pub(crate) fn main() -> ExitCode {
    let Command::Check(command) = Cli::parse().command;
    command.run()
}
