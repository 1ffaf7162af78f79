//! `dledger status`: what each node knows.

use std::time::Duration;

use clap::Args;
use dledger::{Client, ClientError, NodeStatus, Peer, Peers};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::exit::{Heard, verdict};
use crate::output::{Failure, Output};
use crate::target::Target;
use crate::watch;

/// Print what each peer knows of the ledger.
///
/// Exits with 0 if all that answer serve, 1 if none answers, 3 if the ledger is closed on one of them, 4 if one of them
/// knows of no master or was removed.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    /// Print one array with an object per peer; one that cannot be reached has an `error`.
    #[arg(long)]
    json: bool,
    /// Do it again and again, by default every second, until Ctrl-C: with the records committed per second, and with
    /// the members that are not among the peers. A node that is down is no reason to end.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    #[arg(value_parser = watch::interval)]
    watch: Option<Duration>,
}

/// What came of asking a node.
pub(crate) struct Answer {
    pub(crate) peer: Peer,
    /// When it was there.
    pub(crate) at: Instant,
    pub(crate) status: Result<NodeStatus, ClientError>,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(every) = self.watch {
            return watch::run(&self.target, every, self.json).await;
        }
        let answers = ask(&self.target.client(), &self.target.peers).await;
        let mut output = Output::stdout();
        if self.json {
            output.line(Value::Array(answers.iter().map(object).collect()))?;
        } else {
            let rows: Vec<_> = std::iter::once(head(&FIGURES)).chain(answers.iter().map(|a| row(a, figures))).collect();
            for line in table(&rows) {
                output.line(line)?;
            }
        }
        output.flush()?;
        verdict(answers.iter().map(|answer| match &answer.status {
            Ok(status) => (status.node.as_str(), Heard::Role(&status.role)),
            Err(error) => (answer.peer.id.as_str(), Heard::Error(error)),
        }))
    }
}

/// Asks all `peers` at once.
pub(crate) async fn ask(client: &Client, peers: &Peers) -> Vec<Answer> {
    let asked = peers.iter().map(|peer| async move {
        let status = client.status(&peer.id).await;
        Answer { peer: peer.clone(), at: Instant::now(), status }
    });
    join_all(asked).await
}

pub(crate) fn object(Answer { peer, status, .. }: &Answer) -> Value {
    let s = match status {
        Ok(status) => status,
        Err(error) => {
            return json!({ "node": peer.id.as_str(), "address": peer.address, "error": error.to_string() });
        }
    };
    let members = s.members.iter().map(|(id, address, voter)| json!({ "id": id, "address": address, "voter": voter }));
    json!({
        "node": s.node, "address": peer.address, "cluster": s.cluster, "group": s.group, "role": s.role, "term": s.term,
        "master": s.master, "master_address": s.master_address, "first": s.first, "committed": s.committed,
        "durable": s.durable, "end": s.end, "committed_position": s.committed_position,
        "committed_chain": format!("{:08x}", s.committed_chain), "members": members.collect::<Vec<_>>(),
        "closed_reason": s.closed_reason,
        "disk_full": s.disk_full, "cluster_incarnation": s.cluster_incarnation.map(|of| of.to_string()),
        "alarm": s.alarm,
        "waiting": s.waiting,
    })
}

/// The most columns there are; what a row ends with is not aligned.
const COLUMNS: usize = 11;

const FIGURES: [&str; 6] = ["FIRST", "COMMITTED", "DURABLE", "END", "POSITION", "CHAIN"];

fn figures(s: &NodeStatus) -> Vec<String> {
    let figures = [s.first, s.committed, s.durable, s.end, s.committed_position].map(|figure| figure.to_string());
    figures.into_iter().chain([format!("{:08x}", s.committed_chain)]).collect()
}

/// Names of the columns: those of every table, and those of this one.
pub(crate) fn head(figures: &[&str]) -> Vec<String> {
    ["NODE", "ADDRESS", "ROLE", "TERM", "MASTER"].iter().chain(figures).map(|name| (*name).to_owned()).collect()
}

/// Who the node is, its `figures`, and what is wrong with it.
pub(crate) fn row(
    Answer { peer, status, .. }: &Answer,
    figures: impl FnOnce(&NodeStatus) -> Vec<String>,
) -> Vec<String> {
    match status {
        Ok(s) => {
            let mut row = vec![s.node.clone(), peer.address.clone(), s.role.clone(), s.term.to_string()];
            row.push(s.master.clone().unwrap_or_else(|| "-".into()));
            row.extend(figures(s));
            let wrong = s.closed_reason.as_ref().or(s.waiting.as_ref()).or(s.disk_full.as_ref()).or(s.alarm.as_ref());
            // One line a node, whatever there is to say.
            row.extend(wrong.map(|wrong| wrong.replace('\n', "; ")));
            row
        }
        Err(ClientError::Broken { reason, .. }) => {
            vec![peer.id.to_string(), peer.address.clone(), format!("unreachable ({reason})")]
        }
        Err(error) => vec![peer.id.to_string(), peer.address.clone(), format!("refused ({error})")],
    }
}

/// Aligned lines. The last cell of a row takes the space it needs.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let cell = |(column, text): (usize, &String)| match widths.get(column) {
        Some(width) => format!("{text:width$}"),
        None => text.clone(),
    };
    let line = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_cut_short_does_not_widen_the_others() {
        let rows = ["a b c", "aaa long-last", "x y z"];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.split(' ').map(String::from).collect()).collect();
        assert_eq!(table(&rows), ["a    b  c", "aaa  long-last", "x    y  z"]);
    }
}
