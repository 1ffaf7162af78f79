//! `dledger log repair`: damaged ranges back from other replicas.

use std::path::PathBuf;

use clap::Args;
use dledger::{RepairReport, Repaired, RepairedRange};
use serde_json::{Value, json};

use super::tell_owner;
use crate::output::{Failure, Output};

/// Get the damaged ranges of a ledger back from replicas that run.
///
/// Everything is proven before anything is replaced: what a replica sends must be committed there and continue the log
/// here, up to all that this node has noted of it. Tries for about ten seconds while no replica can help.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The ledger's directory: DATA_DIR/GROUP of a node that does not run.
    dir: PathBuf,
    /// A replica to ask; give the option several times for several.
    #[arg(long, required = true, value_name = "HOST:PORT")]
    from: Vec<String>,
    /// Say what would be repaired, and change no segment.
    #[arg(long)]
    dry_run: bool,
    /// Print one object.
    #[arg(long)]
    json: bool,
}

impl Repair {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        tell_owner(&self.dir);
        let report = dledger::offline::repair(self.dir, self.from, self.dry_run).await?;
        let mut output = Output::stdout();
        match self.json {
            true => output.line(object(&report))?,
            false => told(&report).into_iter().try_for_each(|line| output.line(line))?,
        }
        output.flush()
    }
}

fn told(report: &RepairReport) -> Vec<String> {
    let mut lines: Vec<_> = report.ranges.iter().map(ToString::to_string).collect();
    lines.extend(report.removed.iter().map(|file| format!("{} behind the end: removed", file.display())));
    let outcome = match (lines.is_empty(), report.done) {
        (true, _) => "nothing to repair",
        (false, true) => "repaired",
        (false, false) => "could be repaired; nothing was changed",
    };
    lines.push(format!("{outcome}: the log ends at index {}, position {}", report.end, report.end_position));
    lines
}

fn object(report: &RepairReport) -> Value {
    json!({
        "ranges": report.ranges.iter().map(range).collect::<Vec<_>>(),
        "removed": report.removed,
        "end": report.end,
        "end_position": report.end_position,
        "done": report.done,
    })
}

fn range(range: &RepairedRange) -> Value {
    let mut object = json!({ "file": range.file, "start": range.positions.start, "end": range.positions.end });
    object["what"] = match &range.what {
        Repaired::Header => "header".into(),
        Repaired::Blank => "blank".into(),
        Repaired::Tail => "tail".into(),
        Repaired::Entries { entries, indexes, from } => {
            object["entries"] = (*entries).into();
            object["indexes"] = json!([indexes.start, indexes.end]);
            object["from"] = from.as_str().into();
            "entries".into()
        }
        _ => "other".into(),
    };
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(done: bool) -> RepairReport {
        let what = Repaired::Entries { entries: 2, indexes: 5..9, from: "n1".parse().unwrap() };
        let entries = RepairedRange { file: "0".into(), positions: 80..400, what };
        let blank = RepairedRange { file: "0".into(), positions: 400..500, what: Repaired::Blank };
        RepairReport { ranges: vec![entries, blank], removed: vec!["1".into()], end: 9, end_position: 400, done }
    }

    #[test]
    fn every_range_is_named_with_its_place_and_peer() {
        let lines = told(&report(true));
        assert_eq!(lines[0], "0 positions 80 to 400: 2 entries with indexes 5 to 8, from n1");
        assert_eq!(lines[1], "0 positions 400 to 500: blank");
        assert_eq!(lines[2], "1 behind the end: removed");
        assert_eq!(lines[3], "repaired: the log ends at index 9, position 400");
        assert!(told(&report(false))[3].contains("nothing was changed"));
        assert!(told(&RepairReport::default())[0].starts_with("nothing to repair"));
    }

    #[test]
    fn json_has_the_same() {
        let object = object(&report(true));
        assert_eq!(object["ranges"][0]["what"], "entries");
        assert_eq!(object["ranges"][0]["indexes"], json!([5, 9]));
        assert_eq!((&object["ranges"][0]["from"], &object["ranges"][1]["what"]), (&json!("n1"), &json!("blank")));
        assert_eq!((&object["removed"][0], &object["done"]), (&json!("1"), &json!(true)));
    }
}
