//! `dledger status`: what each node knows.

use clap::Args;
use dledger::{ClientError, NodeStatus, Peer};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::output::{Failure, Output, failure};
use crate::target::Target;

/// Print what each peer knows of the ledger. Fails if none can be reached.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    /// Print one array with an object per peer; one that cannot be reached has an `error`.
    #[arg(long)]
    json: bool,
}

type Answer<'a> = (&'a Peer, Result<NodeStatus, ClientError>);

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client();
        let asked = self.target.peers.iter().map(|peer| {
            let client = client.clone();
            async move { (peer, client.status(&peer.id).await) }
        });
        let answers = join_all(asked).await;
        let mut output = Output::stdout();
        if self.json {
            output.line(Value::Array(answers.iter().map(object).collect()))?;
        } else {
            let rows: Vec<_> = std::iter::once(head()).chain(answers.iter().map(row)).collect();
            for line in table(&rows) {
                output.line(line)?;
            }
        }
        output.flush()?;
        match answers.iter().any(|(_, answer)| answer.is_ok()) {
            true => Ok(()),
            false => Err(failure("no peer answered: check the addresses and that the nodes run")),
        }
    }
}

fn object((peer, answer): &Answer<'_>) -> Value {
    let s = match answer {
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
        "disk_full": s.disk_full,
    })
}

/// What a row ends with, and is not aligned.
const COLUMNS: usize = 10;

fn head() -> Vec<String> {
    let names =
        ["NODE", "ADDRESS", "ROLE", "TERM", "MASTER", "FIRST", "COMMITTED", "DURABLE", "END", "POSITION", "CHAIN"];
    names.map(String::from).to_vec()
}

fn row((peer, answer): &Answer<'_>) -> Vec<String> {
    match answer {
        Ok(s) => {
            let mut row = vec![s.node.clone(), peer.address.clone(), s.role.clone(), s.term.to_string()];
            row.push(s.master.clone().unwrap_or_else(|| "-".into()));
            let figures = [s.first, s.committed, s.durable, s.end, s.committed_position];
            row.extend(figures.map(|figure| figure.to_string()));
            row.push(format!("{:08x}", s.committed_chain));
            row.extend(s.closed_reason.as_ref().or(s.disk_full.as_ref()).cloned());
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
    let widths: Vec<_> = (0..=COLUMNS).map(width).collect();
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
