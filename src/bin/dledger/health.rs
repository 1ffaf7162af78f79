//! `dledger health`: whether the node of this environment serves.

use std::time::Duration;

use clap::Args;
use dledger::{Client, ClientError, NodeId, Peer, Peers, Status};
use serde_json::{Value, json};

use crate::exit::{AskOutcome, Exit, overall};
use crate::options::Sources;
use crate::options::values::time_above_zero;
use crate::options::{Options, OwnNode};
use crate::output::{Failure, Output, ended};
use crate::status::wrong;
use crate::table::table;

/// Ask the node that `dledger serve` runs with the same options how its ledgers are: that process and no other.
///
/// It takes the options of `serve` from where `serve` takes them, the environment and the --config file, and needs no
/// others: made for the health checks of Docker and Kubernetes. Exits with 0 if all ledgers serve, 1 if the node does
/// not answer, 3 if a ledger is closed, 4 if one knows of no master. An alarm is shown and changes nothing, because
/// the ledger serves.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// TOML file with the options of `serve`.
    #[arg(long, env = "DLEDGER_CONFIG", value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    options: Box<Options>,
    /// Ask only whether the process should go on: 0 also while there is no master, while one of several ledgers is
    /// closed, and while clients have all connections. For liveness probes, because a restart brings no master back.
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer, like `3s`.
    #[arg(long, default_value = "3s", value_parser = time_above_zero)]
    timeout: Duration,
    /// Print one object instead of a table.
    #[arg(long)]
    json: bool,
}

impl Health {
    pub(crate) async fn run(self, mut sources: Sources) -> Result<(), Failure> {
        let options = self.options.with_file(self.config.as_deref(), &mut sources)?;
        let OwnNode { id, group, cluster, address } = options.own(&sources)?;
        let peers = Peers::new(vec![Peer { id: id.clone(), address: address.clone() }])?;
        let client = Client::builder(peers, group).cluster(cluster).timeout(self.timeout).build();
        let (node, ledgers) = match client.node(&id)?.ledgers().await {
            // It lives: whoever says so has no place for one more client.
            Err(ClientError::Busy { message }) if self.live => return busy(&id, &address, &message, self.json),
            answer => answer?,
        };
        if node != id {
            let found = format!("node {node} answers at {address}, not {id}: correct --id, --bind or --peers");
            return Err(ended(Exit::Failed, found));
        }
        let mut output = Output::stdout();
        if self.json {
            output.line(object(&node, &address, &ledgers))?;
        } else {
            let rows: Vec<_> = std::iter::once(head()).chain(ledgers.iter().map(row)).collect();
            for line in table(&rows) {
                output.line(line)?;
            }
        }
        output.flush()?;
        told(&ledgers, self.live)
    }
}

fn busy(node: &NodeId, address: &str, message: &str, json: bool) -> Result<(), Failure> {
    let mut output = Output::stdout();
    match json {
        true => output.line(json!({ "node": node.as_str(), "address": address, "busy": message, "ledgers": null }))?,
        false => output.line(format_args!("{node} at {address} is busy: {message}"))?,
    }
    output.flush()
}

/// What the ledgers come to.
fn told(ledgers: &[Status], live: bool) -> Result<(), Failure> {
    // A process that has lost all of its ledgers serves nobody.
    if live && ledgers.iter().any(|ledger| Exit::of_role(ledger.role.name()) != Exit::Closed) {
        return Ok(());
    }
    overall(ledgers.iter().map(|ledger| (ledger.group.as_str(), AskOutcome::Role(ledger.role.name()))))
}

fn head() -> Vec<String> {
    ["LEDGER", "ROLE", "TERM", "MASTER", "COMMITTED", "END"].map(String::from).to_vec()
}

/// Which ledger, how it is, and what is wrong with it.
fn row(s: &Status) -> Vec<String> {
    let mut row = vec![s.group.to_string(), s.role.name().to_owned(), s.term.to_string()];
    row.push(s.master.as_ref().map_or_else(|| "-".into(), |master| master.id.to_string()));
    row.extend([s.committed.to_string(), s.end.to_string()]);
    row.extend(wrong(s));
    row
}

fn object(node: &NodeId, address: &str, ledgers: &[Status]) -> Value {
    let each = ledgers.iter().map(|s| {
        json!({
            "group": s.group, "role": s.role.name(), "term": s.term,
            "master": s.master.as_ref().map(|master| &master.id), "committed": s.committed,
            "end": s.end, "closed_reason": s.role.reason(), "disk_full": s.disk_full, "alarm": s.alarm,
            "waiting": s.waiting,
        })
    });
    json!({ "node": node, "address": address, "ledgers": each.collect::<Vec<_>>() })
}
