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
    /// Read from this node alone. Without it, from the master, or from whichever node answers.
    #[arg(long)]
    node: Option<NodeId>,
    /// First index.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Begin with the first record of this time or a later one: a time with its zone, like `2026-11-20T12:00:00Z`
    /// (UTC) or `2026-11-20T14:00:00+02:00`, milliseconds since 1970, or how long ago, like `15m`.
    #[arg(long, conflicts_with = "from", value_parser = timestamp)]
    since: Option<u64>,
    /// What the read must see: `local`: what the node knows; `lease` or `linearizable`: all that was acknowledged
    /// before.
    #[arg(long, default_value_t)]
    consistency: Consistency,
    /// Print at most this many records.
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
        let mut records = node.read_stream_with(from.., limit, self.consistency).await?;
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
    let (local, ahead) = with_zone(text)?;
    if let Ok(time) = humantime::parse_rfc3339_weak(local) {
        // Of no zone, it would be taken for UTC, which is hours from what is meant nearly everywhere.
        let Some(ahead) = ahead else {
            return Err(format!("which zone? {local}Z is UTC, and {local}+02:00 two hours ahead of it"));
        };
        return Ok((since_1970(time) as i64 - ahead * 60_000).max(0) as u64);
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(since_1970(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH))),
        Err(_) => {
            Err("write milliseconds since 1970, a time like 2026-11-20T12:00:00Z, or how long ago, like 15m".into())
        }
    }
}

/// A time without its zone, and the minutes by which the zone is ahead of UTC, if the text names a zone.
fn with_zone(text: &str) -> Result<(&str, Option<i64>), String> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Ok((local, Some(0)));
    }
    // `+HH:MM` behind a time of day: a date has dashes too.
    let Some(at) = text.rfind(['+', '-']).filter(|at| text[..*at].contains(':')) else { return Ok((text, None)) };
    let (sign, zone) = (if text[at..].starts_with('-') { -1 } else { 1 }, &text[at + 1..]);
    let two = |part: &str, most: i64| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|number| digits && (0..=most).contains(number))
    };
    let minutes = zone.split_once(':').and_then(|(hours, minutes)| Some(two(hours, 23)? * 60 + two(minutes, 59)?));
    match minutes {
        Some(minutes) => Ok((&text[..at], Some(sign * minutes))),
        None => Err(format!("{:?} is no zone: write it like +02:00, or Z for UTC", &text[at..])),
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

    #[test]
    fn a_time_has_a_zone() {
        for same in ["2023-11-14T22:13:20+00:00", "2023-11-15T00:13:20+02:00", "2023-11-14 17:43:20-04:30"] {
            assert_eq!(timestamp(same), Ok(1_700_000_000_000), "{same}");
        }
        assert_eq!(timestamp("2023-11-15T00:13:20.5+02:00"), Ok(1_700_000_000_500));
        assert_eq!(timestamp("1970-01-01T00:00:00+02:00"), Ok(0));
        let said = timestamp("2023-11-14T22:13:20").unwrap_err();
        assert!(said.contains("which zone?") && said.contains("22:13:20Z is UTC"), "{said}");
        for odd in ["2023-11-14T22:13:20+2", "2023-11-14T22:13:20+02:60", "2023-11-14T22:13:20+24:00"] {
            assert!(timestamp(odd).unwrap_err().contains("is no zone"), "{odd}");
        }
    }
}
