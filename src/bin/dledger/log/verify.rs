//! `dledger log verify`: every byte of a ledger's directory checked.

use std::io::IsTerminal;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use dledger::offline::{AtStart, VerifyEvent, VerifySummary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::opened;
use crate::output::{Failure, Output, found};

/// Check every byte of a ledger's directory, and say what a start of the node would do. Fails if there is damage.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The ledger's directory: the one with the name of the group, in the node's data directory.
    dir: PathBuf,
    /// Print one object per finding, and one with the figures at the end.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let ledger = opened(&self.dir)?;
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}") {
            bar.set_style(style);
        }
        let mut output = Output::stdout();
        let summary = ledger.verify(&mut |checked| match checked {
            VerifyEvent::Progress { done, total } => {
                bar.set_length(total);
                bar.set_position(done);
                Ok(())
            }
            VerifyEvent::Finding(finding) => bar.suspend(|| {
                if !self.json {
                    return output.line(&finding);
                }
                let mut object = serde_json::to_value(&finding)?;
                object["item"] = "finding".into();
                output.line(object)
            }),
            _ => Ok(()),
        });
        bar.finish_and_clear();
        let summary = summary?;
        if self.json {
            let mut object = json!(summary);
            object["item"] = "summary".into();
            output.line(object)?;
        } else {
            figures(&summary).into_iter().try_for_each(|line| output.line(line))?;
        }
        output.flush()?;
        match summary.damages {
            0 => Ok(()),
            damages => Err(found(format!("{damages} damaged in {}", self.dir.display()))),
        }
    }
}

fn figures(summary: &VerifySummary) -> [String; 4] {
    let VerifySummary { segments, entries, records, bytes, first, end, committed, durable, damages, notes, .. } =
        summary;
    let size = ByteSize::b(*bytes);
    let why = summary.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    [
        format!("checked   {segments} segments ({size}), {entries} entries, {records} records"),
        format!("indexes   first {first}, committed {committed}, durable {durable}, end {end}"),
        format!("findings  {damages} damage, {notes} notes"),
        format!("a start   would {}{why}", words(summary.at_start)),
    ]
}

fn words(at_start: AtStart) -> &'static str {
    match at_start {
        AtStart::Cut => "cut the end",
        AtStart::Restart => "begin the log anew at its recorded start",
        AtStart::Refuse => "refuse",
        AtStart::Keep | AtStart::Remake | AtStart::Remove => "go on with what is there",
    }
}
