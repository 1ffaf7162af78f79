//! `dledger retention`: what nodes have kept of a ledger, and removing by hand.

use std::time::{Duration, UNIX_EPOCH};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use dledger::{ClientError, NodeClient, NodeId, Peer, RetentionStatus};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::exit::{AskOutcome, Exit, overall};
use crate::output::{Failure, Output, ended};
use crate::status::refused_alike;
use crate::table::table;
use crate::target::Target;
use crate::target::roster::everybody;

/// Show where the ledger begins on each node and what may be removed there, or remove its oldest records.
#[derive(Debug, Args)]
pub(crate) struct RetentionCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    Move(Move),
}

/// Print what each member has kept, and what its retention is; also each peer of the list that is no member.
///
/// Exits with 1 if none can be reached, 3 if the ledger is closed on one of them.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    target: Target,
    /// Print one array with an object per peer; one that cannot be reached has an `error`.
    #[arg(long)]
    json: bool,
}

/// Remove the whole segments whose records all lie below an index, and print where the ledger begins then.
///
/// On every member and every peer of the list, or on the one that is named: each node removes its own. Fails if one of
/// them could not.
#[derive(Debug, Args)]
struct Move {
    #[command(flatten)]
    target: Target,
    /// Remove what lies below this index; at most what is committed. The segment that it lies in stays.
    #[arg(long, value_name = "INDEX")]
    to: u64,
    /// Only on this node.
    #[arg(long)]
    node: Option<NodeId>,
    /// Print one array with an object per node; one that could not has an `error`.
    #[arg(long)]
    json: bool,
}

impl RetentionCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Show(command) => command.run().await,
            Command::Move(command) => command.run().await,
        }
    }
}

/// Asks all `nodes` at once.
async fn ask<T>(
    nodes: &[(Peer, NodeClient)],
    call: impl AsyncFn(NodeClient) -> Result<T, ClientError>,
) -> Vec<(&Peer, Result<T, ClientError>)> {
    let call = &call;
    join_all(nodes.iter().map(async |(peer, node)| (peer, call(node.clone()).await))).await
}

/// All nodes of the ledger, or the one that is named.
async fn nodes(target: &Target, named: Option<&NodeId>) -> Result<Vec<(Peer, NodeClient)>, Failure> {
    if let Some(id) = named {
        let node = target.node(Some(id)).await?;
        return Ok(vec![(Peer { id: id.clone(), address: node.address().to_owned() }, node)]);
    }
    let group = target.group()?;
    let peers = everybody(target, group).await?;
    let client = target.client_of(group, &peers, Duration::MAX);
    peers.iter().map(|peer| Ok((peer.clone(), client.node(&peer.id)?))).collect()
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let nodes = nodes(&self.target, None).await?;
        let answers = ask(&nodes, async |node| node.retention().await).await;
        let mut output = Output::stdout();
        if self.json {
            output.line(Value::Array(answers.iter().map(shown).collect()))?;
        } else {
            let rows: Vec<_> = std::iter::once(head()).chain(answers.iter().map(row)).collect();
            for line in table(&rows) {
                output.line(line)?;
            }
        }
        output.flush()?;
        refused_alike(answers.iter().map(|(_, answer)| answer.as_ref().err()))?;
        overall(answers.iter().map(|(peer, answer)| match answer {
            Ok(_) => (peer.id.as_str(), AskOutcome::Answer),
            Err(error) => (peer.id.as_str(), AskOutcome::Error(error)),
        }))
    }
}

impl Move {
    async fn run(self) -> Result<(), Failure> {
        let nodes = nodes(&self.target, self.node.as_ref()).await?;
        let answers = ask(&nodes, async |node| node.remove_below(self.to).await).await;
        let mut output = Output::stdout();
        if self.json {
            output.line(Value::Array(answers.iter().map(moved).collect()))?;
        } else {
            for (peer, answer) in &answers {
                match answer {
                    Ok(first) => output.line(format_args!("{} begins at index {first}", peer.id))?,
                    Err(error) => output.line(format_args!("{} {}", peer.id, self.why(error)))?,
                }
            }
        }
        output.flush()?;
        let failed: Vec<_> = answers.iter().filter_map(|(peer, answer)| Some((peer, answer.as_ref().err()?))).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let exit = Exit::worst(failed.iter().map(|(_, error)| Exit::of(*error)));
        let names: Vec<_> = failed.iter().map(|(peer, _)| peer.id.as_str()).collect();
        Err(ended(exit, format_args!("not done on {}", names.join(", "))))
    }

    fn why(&self, error: &ClientError) -> String {
        match error {
            ClientError::NotYet { committed, .. } => {
                format!("refused: it has committed up to {committed}, which is below {}", self.to)
            }
            error => format!("failed: {error}"),
        }
    }
}

fn shown((peer, answer): &(&Peer, Result<RetentionStatus, ClientError>)) -> Value {
    let s = match answer {
        Ok(status) => status,
        Err(error) => return unreached(peer, error),
    };
    let limits = s.retention.map(|r| {
        json!({
            "max_age_ms": r.max_age.map(millis), "max_bytes": r.max_bytes, "check": r.check, "force": r.force,
            "refuse": r.refuse, "every_ms": millis(r.every),
        })
    });
    let last = s.last.map(|last| {
        json!({
            "at": last.at, "reason": last.reason.name(), "first": last.first, "segments": last.segments,
            "bytes": last.bytes,
        })
    });
    json!({
        "node": peer.id.as_str(), "address": peer.address, "first": s.first, "first_position": s.first_position,
        "segments": s.segments, "bytes": s.bytes, "oldest": s.oldest, "disk_used": s.disk_used,
        "level": s.level.map(|level| level.name()), "limits": limits, "last": last, "problem": s.problem,
    })
}

fn moved((peer, answer): &(&Peer, Result<u64, ClientError>)) -> Value {
    match answer {
        Ok(first) => json!({ "node": peer.id.as_str(), "address": peer.address, "first": first }),
        Err(error) => unreached(peer, error),
    }
}

fn unreached(peer: &Peer, error: &ClientError) -> Value {
    json!({ "node": peer.id.as_str(), "address": peer.address, "error": error.to_string() })
}

fn head() -> Vec<String> {
    let names = ["NODE", "FIRST", "POSITION", "SEGMENTS", "BYTES", "OLDEST", "DISK", "LEVEL", "LIMITS", "LAST"];
    names.map(String::from).to_vec()
}

fn row((peer, answer): &(&Peer, Result<RetentionStatus, ClientError>)) -> Vec<String> {
    let s = match answer {
        Ok(status) => status,
        Err(ClientError::Broken { reason, .. }) => return vec![peer.id.to_string(), format!("unreachable ({reason})")],
        Err(error) => return vec![peer.id.to_string(), format!("refused ({error})")],
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let last =
        s.last.map(|last| format!("{} removed at {} ({})", segments(last.segments), time(last.at), last.reason.name()));
    vec![
        peer.id.to_string(),
        s.first.to_string(),
        s.first_position.to_string(),
        s.segments.to_string(),
        size(s.bytes),
        or_none(s.oldest.map(time)),
        percent(s.disk_used),
        or_none(s.level.map(|level| level.name().into())),
        limits(s),
        s.problem.clone().or(last).unwrap_or_else(|| "-".into()),
    ]
}

fn limits(status: &RetentionStatus) -> String {
    let Some(r) = status.retention else { return "none".into() };
    let age = r.max_age.map(|age| format!("age {}, ", humantime::format_duration(age))).unwrap_or_default();
    let bytes = r.max_bytes.map(|bytes| format!("size {}, ", size(bytes))).unwrap_or_default();
    format!("{age}{bytes}disk {}/{}/{}", percent(r.check), percent(r.force), percent(r.refuse))
}

fn segments(count: u64) -> String {
    if count == 1 { "1 segment".into() } else { format!("{count} segments") }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

fn time(millis: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dledger::{LastRemoval, RemovalReason};

    use super::*;

    fn status() -> RetentionStatus {
        let retention = dledger::Retention {
            max_age: Some(Duration::from_secs(72 * 3600)),
            max_bytes: Some(64 << 30),
            ..dledger::Retention::default()
        };
        let (at, reason) = (1_700_000_000_000, RemovalReason::Size);
        RetentionStatus {
            first: 7,
            first_position: 800,
            segments: 3,
            bytes: 768 << 20,
            oldest: Some(1_700_000_000_000),
            disk_used: 0.423,
            level: Some(dledger::DiskLevel::Calm),
            retention: Some(retention),
            last: Some(LastRemoval { at, reason, first: 7, segments: 1, bytes: 256 << 20 }),
            problem: None,
        }
    }

    #[test]
    fn a_row_says_what_is_kept_and_what_may_go() {
        let peer = Peer { id: NodeId::new(1), address: "h:1".into() };
        let cells = row(&(&peer, Ok(status()))).join(" | ");
        let expected = "n1 | 7 | 800 | 3 | 768.0 MiB | 2023-11-14T22:13:20Z | 42% | calm \
                        | age 3days, size 64.0 GiB, disk 70%/85%/90% \
                        | 1 segment removed at 2023-11-14T22:13:20Z (size)";
        assert_eq!(cells, expected);
        let bare = RetentionStatus { oldest: None, level: None, retention: None, last: None, ..status() };
        let cells = row(&(&peer, Ok(bare))).join(" | ");
        assert_eq!(cells, "n1 | 7 | 800 | 3 | 768.0 MiB | - | 42% | - | none | -");
        let trouble = RetentionStatus { problem: Some("in use".into()), ..status() };
        assert!(row(&(&peer, Ok(trouble))).join(" ").ends_with("in use"));
        assert_eq!(head().len(), 10);
    }
}
