//! `dledger log truncate`: removes the records from an index on.

use std::path::PathBuf;

use clap::Args;
use dledger::offline::{StoppedLedger, Truncation};
use serde_json::json;

use super::{opened, tell_owner};
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
    /// Do it. Without this, the command only shows what it would do.
    #[arg(long)]
    yes: bool,
    /// Remove records even if they may have been acknowledged: those known to be committed, those that were synced
    /// here, and all others that a start would keep. They are lost if no other replica has them; and if others have,
    /// this one may vote for a leader without them.
    #[arg(long)]
    discard_committed: bool,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Truncate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // The plan alone changes nothing, and needs no right to.
        let ledger = if self.yes { StoppedLedger::open(&self.dir)? } else { opened(&self.dir)? };
        if self.yes {
            tell_owner(&self.dir);
        }
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
            object["discards_acknowledged"] = cut.discards_acknowledged().into();
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
    let Truncation { to, position, number, entries, records, committed, durable, acknowledged, segments, .. } = cut;
    let (removes, ends) = if done { ("removed", "the log ends") } else { ("would remove", "the log would end") };
    let damaged = if cut.damaged { ", and what cannot be read" } else { "" };
    let mut lines = vec![format!("{removes} {records} records in {entries} entries{damaged}")];
    lines.extend(segments.iter().map(|segment| format!("{removes} {}", segment.display())));
    lines.push(format!("{ends} at position {position}, before index {to}"));
    // From the least to the most certain; each row begins where the one before it ends.
    let rows = [
        (*to, *committed, "are known to be committed"),
        (*to.max(committed), *durable, "were synced here and may have been acknowledged"),
        (*to.max(committed).max(durable), *acknowledged, "are not noted as synced and may have been acknowledged"),
    ];
    for (from, end, what) in rows.into_iter().filter(|(from, end, _)| from < end && cut.discards_acknowledged()) {
        lines.push(format!("records {from} to {} {what}: they are given up", end - 1));
    }
    if cut.discards_acknowledged() && to >= acknowledged {
        lines.push(format!("entries from number {number} on may have been acknowledged: they are given up"));
    }
    lines
}
