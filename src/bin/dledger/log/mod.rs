//! `dledger log`: tools for the directory of a ledger whose node is stopped. One file per command.

mod diff;
mod dump;
mod repair;
mod truncate;
mod verify;

use std::path::Path;

use clap::{Args, Subcommand};
use dledger::offline::{OfflineError, StoppedLedger, given_to_owner};

use crate::output::Failure;

/// Look at, check, compare and cut the directory of a ledger whose node is stopped.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Log {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dump(dump::Dump),
    Verify(verify::Verify),
    Truncate(truncate::Truncate),
    Diff(diff::Diff),
    Repair(repair::Repair),
}

impl Log {
    /// All but the repair is file reads: there is nothing to wait for beside it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Dump(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Truncate(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Repair(command) => command.run().await,
        }
    }
}

/// A ledger's directory, to be looked at.
fn opened(dir: &Path) -> Result<StoppedLedger, OfflineError> {
    let ledger = StoppedLedger::to_read(dir)?;
    if let Some(why) = ledger.unlocked() {
        eprintln!("note: {} is read without its lock ({why}): make sure that no node starts in it", dir.display());
    }
    Ok(ledger)
}

/// Says whose the files will be, if that is not as one would think.
fn tell_owner(dir: &Path) {
    if let Some(told) = given_to_owner(dir) {
        eprintln!("note: {told}");
    }
}
