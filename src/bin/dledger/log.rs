//! `dledger log`: work on the files of a stopped node.

use clap::{Args, Subcommand};

use crate::log_repair::Repair;
use crate::output::Failure;

/// Work on the files of a node that does not run.
#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Repair(Repair),
}

impl Log {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Repair(command) => command.run().await,
        }
    }
}
