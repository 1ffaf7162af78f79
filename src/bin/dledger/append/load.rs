//! Lines that are appended, many at once.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dledger::error::Outcome;
use dledger::{BatchAck, Client, ClientError, PendingAppend};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

use super::lines::Chunk;
use crate::exit::Exit;
use crate::output::{Failure, ended};

/// Lines under way at most. The client bounds their bytes; this bounds their number where they are short.
const MAX_PENDING: usize = 64 << 10;
/// Failed lines that the error names; of the others it says only how many there are.
const SHOWN: usize = 20;

/// The lines under way, and what became of the others.
pub(super) struct LineAppends {
    started: Instant,
    bar: ProgressBar,
    read: u64,
    pending: VecDeque<(u64, PendingAppend)>,
    acked: u64,
    first: Option<u64>,
    last: Option<u64>,
    failed: Vec<(u64, ClientError)>,
    /// A line was refused after all retries. No more are read: each would be refused too, after a deadline of its own.
    refused: bool,
}

impl LineAppends {
    pub(super) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}, {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            started: Instant::now(),
            bar,
            read: 0,
            pending: VecDeque::new(),
            acked: 0,
            first: None,
            last: None,
            failed: Vec::new(),
            refused: false,
        }
    }

    /// Appends all lines, until a chunk cannot be read or a line is refused.
    ///
    /// # Errors
    /// Why a chunk could not be read.
    pub(super) async fn run(&mut self, client: &Client, mut chunks: mpsc::Receiver<Chunk>) -> Result<(), String> {
        let mut read = Ok(());
        while !self.refused {
            tokio::select! {
                biased;
                () = self.one_outcome(), if !self.pending.is_empty() => {}
                chunk = chunks.recv(), if self.pending.len() < MAX_PENDING => match chunk {
                    Some(Ok(lines)) => self.submit(client, lines).await,
                    Some(Err(error)) => {
                        read = Err(error);
                        break;
                    }
                    None => break,
                },
            }
        }
        while !self.pending.is_empty() {
            self.one_outcome().await;
        }
        self.bar.finish_and_clear();
        read
    }

    async fn submit(&mut self, client: &Client, lines: Vec<Bytes>) {
        for line in lines {
            self.read += 1;
            match client.submit(vec![line]).await {
                Ok(pending) => self.pending.push_back((self.read, pending)),
                Err(error) => {
                    self.note(self.read, Err(error));
                    return;
                }
            }
        }
    }

    /// The outcome of the oldest line. Can be dropped and called again.
    async fn one_outcome(&mut self) {
        let Some((line, pending)) = self.pending.front_mut() else { return };
        let (line, outcome) = (*line, pending.await);
        self.pending.pop_front();
        self.note(line, outcome);
    }

    fn note(&mut self, line: u64, outcome: Result<BatchAck, ClientError>) {
        match outcome {
            Ok(ack) => {
                self.acked += 1;
                self.bar.set_position(self.acked);
                self.first = Some(self.first.map_or(ack.first_index, |first| first.min(ack.first_index)));
                self.last = self.last.max(Some(ack.first_index));
            }
            Err(error) => {
                self.refused |= error.outcome() == Outcome::Refused;
                self.failed.push((line, error));
            }
        }
    }

    fn per_second(&self) -> f64 {
        self.acked as f64 / self.started.elapsed().as_secs_f64().max(1e-6)
    }

    fn failed_lines(&self, outcome: Outcome) -> Vec<u64> {
        self.failed.iter().filter(|(_, error)| error.outcome() == outcome).map(|(line, _)| *line).collect()
    }

    pub(super) fn as_json(&self) -> String {
        json!({
            "appended": self.acked,
            "first_index": self.first,
            "last_index": self.last,
            "seconds": self.started.elapsed().as_secs_f64(),
            "records_per_s": self.per_second().round(),
            "unknown_lines": self.failed_lines(Outcome::Unknown),
            "refused_lines": self.failed_lines(Outcome::Refused),
        })
        .to_string()
    }

    pub(super) fn summary(&self) -> String {
        let range = match (self.first, self.last) {
            (Some(first), Some(last)) => format!(", index {first} to {last}"),
            _ => String::new(),
        };
        format!("{} records appended{range}, {:.0} records/s", self.acked, self.per_second())
    }

    /// Fails if lines were not appended, or may not have been, and names them.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<_> =
            self.failed.iter().take(SHOWN).map(|(line, error)| format!("line {line}: {error}")).collect();
        if self.failed.len() > SHOWN {
            lines.push(format!("and {} more lines (--json lists them)", self.failed.len() - SHOWN));
        }
        if self.refused {
            lines.push(format!("nothing after line {} was read", self.read));
        }
        let exit = Exit::worst(self.failed.iter().map(|(_, error)| Exit::of(error)));
        Err(ended(exit, format_args!("not all lines were appended\n{}", lines.join("\n"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(first_index: u64) -> Result<BatchAck, ClientError> {
        Ok(BatchAck { first_index, first_position: 0, term: 1, count: 1 })
    }

    #[test]
    fn a_failed_line_is_named_and_makes_the_command_fail() {
        let mut load = LineAppends::new();
        load.note(1, ack(10));
        load.note(2, ack(11));
        assert!(load.check().is_ok());
        load.note(3, Err(ClientError::Unknown { reason: "gone".into() }));
        assert!(!load.refused, "the other lines still go");
        let Err(Failure::Error(_, told)) = load.check() else { panic!("no failure") };
        assert!(told.contains("line 3: the outcome is unknown (gone)"), "{told}");
        load.note(4, Err(ClientError::EmptyBatch));
        assert!(load.refused);
        assert!(load.summary().starts_with("2 records appended, index 10 to 11, "), "{}", load.summary());
        let object: serde_json::Value = serde_json::from_str(&load.as_json()).unwrap();
        assert_eq!((&object["unknown_lines"][0], &object["refused_lines"][0]), (&json!(3), &json!(4)));
    }
}
