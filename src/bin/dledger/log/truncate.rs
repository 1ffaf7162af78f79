//! `dledger log truncate`: removes the records from an index on.

use std::path::PathBuf;

use clap::Args;
use dledger::offline::{Stopped, Truncation};
use serde_json::json;

use crate::output::{Failure, Output, found};

/// Remove the records from an index on: the last resort against damage, if no replica has them.
///
/// If another replica has them, this node is better restored from there.
#[derive(Debug, Args)]
pub(crate) struct Truncate {
    /// The ledger's directory: the one with the name of the group, in the node's data directory.
    dir: PathBuf,
    /// First index that goes. It must be the first record of its entry: a batch is never split.
    #[arg(long, value_name = "INDEX")]
    to: u64,
    /// Do it. Without this, only what would be done is shown.
    #[arg(long)]
    yes: bool,
    /// Remove records even if they are known to be committed. Acknowledged records are lost if no other replica has
    /// them; and if others have, this one may vote for a leader without them.
    #[arg(long)]
    discard_committed: bool,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Truncate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let ledger = Stopped::open(&self.dir)?;
        let cut = if self.yes {
            ledger.truncate(self.to, self.discard_committed)?
        } else {
            ledger.plan_truncation(self.to, self.discard_committed)?
        };
        let mut output = Output::stdout();
        if self.json {
            let mut object = json!(cut);
            object["done"] = self.yes.into();
            object["discards_committed"] = cut.discards_committed().into();
            output.line(object)?;
        } else {
            words(&cut, self.yes).into_iter().try_for_each(|line| output.line(line))?;
        }
        output.flush()?;
        match self.yes {
            true => Ok(()),
            false => Err(found("nothing was changed: give --yes to do it")),
        }
    }
}

fn words(cut: &Truncation, done: bool) -> Vec<String> {
    let Truncation { to, position, entries, records, committed, segments, .. } = cut;
    let (removes, ends) = if done { ("removed", "the log ends") } else { ("would remove", "the log would end") };
    let damaged = if cut.damaged { ", and what cannot be read" } else { "" };
    let mut lines = vec![format!("{removes} {records} records in {entries} entries{damaged}")];
    lines.extend(segments.iter().map(|segment| format!("{removes} {}", segment.display())));
    lines.push(format!("{ends} at position {position}, before index {to}"));
    if cut.discards_committed() {
        lines.push(format!("records {to} to {} are known to be committed: they are given up", committed - 1));
    }
    lines
}
