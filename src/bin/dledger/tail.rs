//! `dledger tail`: committed records as they come.

use clap::Args;
use dledger::{Client, ClientError, NodeClient, NodeId, Record, Status};
use futures::StreamExt;

use crate::output::{Failure, Form, Output, nobody_reads};
use crate::target::Target;

/// Records printed before the command checks again whether more are ready.
const READY: usize = 1024;

/// Print committed records as they come, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    target: Target,
    /// Read from this node alone, and end when it fails. Without it, the tail goes on at another node.
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
        let printed = self.print();
        tokio::select! {
            printed = printed => printed,
            () = nobody_reads() => Err(Failure::Pipe),
        }
    }

    async fn print(&self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let node = match &self.node {
            Some(node) => Some(self.target.node(Some(node)).await?),
            None => None,
        };
        let records = match &node {
            Some(node) => node.tail(self.from).await?,
            None => client.tail(self.from),
        };
        let form = Form::of(self.lines, self.json);
        let mut output = Output::stdout();
        let mut ready = records.ready_chunks(READY);
        let ahead = self.ahead(&client, node);
        tokio::pin!(ahead);
        // Records that come say by themselves that they are there.
        let mut begun = false;
        loop {
            tokio::select! {
                biased;
                records = ready.next() => match records {
                    Some(records) => write(&mut output, records, form)?,
                    None => return Ok(()),
                },
                () = &mut ahead, if !begun => {}
            }
            begun = true;
        }
    }

    /// Warns if no record has the first index yet: there may never be one.
    async fn ahead(&self, client: &Client, node: Option<NodeClient>) {
        let node = match node {
            Some(node) => Ok(node),
            None => client.any_node().await,
        };
        // Who does not answer is told of by the records, or their absence.
        let Ok(node) = node else { return };
        let Ok(Status { node, committed, .. }) = node.status().await else { return };
        if self.from > committed {
            let (from, before) = (self.from, self.from - committed);
            eprintln!(
                "note: waits for index {from}: {node} has committed up to {committed}, {before} records before it"
            );
        }
    }
}

fn write(output: &mut Output, records: Vec<Result<Record, ClientError>>, form: Form) -> Result<(), Failure> {
    for record in records {
        match record {
            Ok(record) => output.record(&record, form)?,
            Err(error) => {
                output.flush()?;
                return Err(error.into());
            }
        }
    }
    output.flush()
}
