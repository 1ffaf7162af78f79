//! `dledger get`: one record.

use clap::Args;
use dledger::NodeId;

use crate::output::{Failure, Form, Output};
use crate::target::Target;

/// Print one committed record: its bytes and a newline.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// Index of the record.
    index: u64,
    /// Read from this very node; else from the master, or whichever node answers.
    #[arg(long)]
    node: Option<NodeId>,
    /// Print the bytes without the newline.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print an object with index, position, term, timestamp and `body` (text) or `body_hex` (other bytes).
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client();
        let record = match &self.node {
            Some(node) => client.node(node)?.get(self.index).await?,
            None => client.get(self.index).await?,
        };
        let mut output = Output::stdout();
        if self.raw {
            output.bytes(&record.body)?;
        } else {
            output.record(&record, Form::of(true, self.json))?;
        }
        output.flush()
    }
}
