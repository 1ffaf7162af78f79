//! `dledger append`: one record, or one per line with many in flight.

use std::path::PathBuf;

use clap::Args;
use dledger::Client;
use serde_json::json;

use super::lines;
use super::load::LineAppends;
use crate::output::{Failure, Output, failure, usage};
use crate::target::Target;

/// Append a record, or with --lines one record per line.
#[derive(Debug, Args)]
pub(crate) struct Append {
    #[command(flatten)]
    target: Target,
    /// Append each line of the files as a record, without its newline; without files, each line of standard input.
    #[arg(long)]
    lines: bool,
    /// The record; with --lines, the files to read, `-` being standard input.
    #[arg(value_name = "RECORD|FILE", required_unless_present = "lines")]
    what: Vec<String>,
    /// Print an object: index, position and term of the record, or the summary of --lines.
    #[arg(long)]
    json: bool,
}

impl Append {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        if self.lines {
            return self.append_lines(&client).await;
        }
        let [record] = <[String; 1]>::try_from(self.what)
            .map_err(|records| usage(format!("{} records given: quote the record, or use --lines", records.len())))?;
        let ack = client.append(record).await?;
        let mut output = Output::stdout();
        if self.json {
            output.line(json!({ "index": ack.index, "position": ack.position, "term": ack.term }))?;
        } else {
            output.line(format_args!("index {}, position {}, term {}", ack.index, ack.position, ack.term))?;
        }
        output.flush()
    }

    async fn append_lines(self, client: &Client) -> Result<(), Failure> {
        let files = self.what.into_iter().map(PathBuf::from).collect();
        let mut appends = LineAppends::new();
        let read = appends.run(client, lines::read(files)).await;
        let mut output = Output::stdout();
        output.line(if self.json { appends.as_json() } else { appends.summary() })?;
        output.flush()?;
        appends.check()?;
        read.map_err(failure)
    }
}
