//! `dledger get`: one record.

use clap::Args;
use dledger::{Consistency, NodeId};

use crate::output::{Failure, Form, Output};
use crate::target::Target;

/// Print one committed record: its bytes and a newline.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// Index of the record.
    #[arg(required_unless_present = "position", conflicts_with = "position")]
    index: Option<u64>,
    /// Position of the record, in place of its index; the same on all nodes.
    #[arg(long)]
    position: Option<u64>,
    /// What the read must see: `local`: what the node knows; `lease` or `linearizable`: all that was acknowledged
    /// before.
    #[arg(long, default_value_t)]
    consistency: Consistency,
    /// Read from this node alone. Without it, from the master, or from whichever node answers.
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
        let client = self.target.client()?;
        let node = match &self.node {
            Some(node) => Some(self.target.node(Some(node)).await?),
            None => None,
        };
        let record = match (node, self.position) {
            (Some(node), Some(position)) => node.get_at_position(position, self.consistency).await?,
            (None, Some(position)) => client.get_at_position(position, self.consistency).await?,
            (Some(node), None) => node.get_with(self.index.unwrap_or_default(), self.consistency).await?,
            (None, None) => client.get_with(self.index.unwrap_or_default(), self.consistency).await?,
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
