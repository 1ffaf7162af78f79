//! `dledger tail`: committed records as they come.

use clap::Args;
use dledger::NodeId;
use futures::StreamExt;

use crate::output::{Failure, Form, Output};
use crate::target::Target;

/// Records printed between two looks at whether more are ready.
const READY: usize = 1024;

/// Print committed records as they come, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    target: Target,
    /// Read from this very node and end when it fails; else go on at another one.
    #[arg(long)]
    node: Option<NodeId>,
    /// First index.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print the bytes of each record and a newline, nothing else.
    #[arg(long, conflicts_with = "json")]
    lines: bool,
    /// Print one object per record with index, position, term, timestamp and `body` (text) or `body_hex` (other bytes).
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client();
        let records = match &self.node {
            Some(node) => client.node(node)?.tail(self.from).await?,
            None => client.tail(self.from),
        };
        let form = Form::of(self.lines, self.json);
        let mut output = Output::stdout();
        let mut ready = records.ready_chunks(READY);
        while let Some(records) = ready.next().await {
            for record in records {
                match record {
                    Ok(record) => output.record(&record, form)?,
                    Err(error) => {
                        output.flush()?;
                        return Err(error.into());
                    }
                }
            }
            output.flush()?;
        }
        Ok(())
    }
}
