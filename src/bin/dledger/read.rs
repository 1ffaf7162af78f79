//! `dledger read`: committed records up to the end.

use clap::Args;
use dledger::{NodeId, ReadLimit};
use futures::StreamExt;

use crate::output::{Failure, Form, Output};
use crate::target::Target;

/// Print the committed records, up to the end as the node knows it when the read begins.
#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    target: Target,
    /// Read from this very node; else from the master, or whichever node answers.
    #[arg(long)]
    node: Option<NodeId>,
    /// First index.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Most records.
    #[arg(long)]
    limit: Option<usize>,
    /// Print the bytes of each record and a newline, nothing else.
    #[arg(long, conflicts_with = "json")]
    lines: bool,
    /// Print one object per record with index, position, term, timestamp and `body` (text) or `body_hex` (other bytes).
    #[arg(long)]
    json: bool,
}

impl Read {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let node = self.target.node(self.node.as_ref()).await?;
        let limit = ReadLimit { records: self.limit.unwrap_or(usize::MAX), bytes: usize::MAX };
        let mut records = node.read_stream(self.from, limit).await?;
        let form = Form::of(self.lines, self.json);
        let mut output = Output::stdout();
        while let Some(record) = records.next().await {
            match record {
                Ok(record) => output.record(&record, form)?,
                Err(error) => {
                    // What came before is good.
                    output.flush()?;
                    return Err(error.into());
                }
            }
        }
        output.flush()
    }
}
