//! `dledger read`: committed records up to the end.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use dledger::{Consistency, NodeId, ReadLimit};
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
    /// Begin with the first record of this time or a later one: milliseconds since 1970, `2026-11-20T12:00:00Z`, or so
    /// long ago, like `15m`.
    #[arg(long, conflicts_with = "from", value_parser = timestamp)]
    since: Option<u64>,
    /// What the read must see: `local` what the node knows, `lease` or `linearizable` all that was acknowledged before.
    #[arg(long, default_value_t)]
    consistency: Consistency,
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
        let from = match self.since {
            Some(timestamp) => node.index_at(timestamp, self.consistency).await?,
            None => self.from,
        };
        let mut records = node.read_stream_with(from, limit, self.consistency).await?;
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

/// Milliseconds since 1970.
fn timestamp(text: &str) -> Result<u64, String> {
    let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(since_1970(time));
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(since_1970(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH))),
        Err(_) => {
            Err("write milliseconds since 1970, a time like 2026-11-20T12:00:00Z, or how long ago, like 15m".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_spellings() {
        assert_eq!(timestamp("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(timestamp("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        let (now, ago) = (timestamp("0s").unwrap(), timestamp("1h").unwrap());
        assert!((3_590_000..3_600_001).contains(&(now - ago)), "{now} {ago}");
        assert!(timestamp("yesterday").unwrap_err().contains("15m"));
    }
}
