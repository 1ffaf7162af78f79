//! `dledger log dump`: everything in a ledger's directory, in order.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use dledger::offline::{DumpItem, DumpOptions, DumpPoint, DumpedRecord, EntryItem};
use serde_json::Value;

use super::opened;
use crate::output::{Failure, Output, found, hex, readable};

/// Show everything in a ledger's directory, in order. Goes on behind damage, and then fails.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The ledger's directory: the one with the name of the group, in the node's data directory.
    dir: PathBuf,
    /// First index to show; then only segments and entries are shown.
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// Index after the last one to show.
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// Show the records too.
    #[arg(long)]
    bodies: bool,
    /// Print one object per line.
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let ledger = opened(&self.dir)?;
        let options = DumpOptions::default().from(self.from).to(self.to).bodies(self.bodies);
        let mut output = Output::stdout();
        let mut damages = 0u64;
        ledger.dump(options, &mut |item| {
            damages += u64::from(matches!(item, DumpItem::Damage(_)));
            if self.json { output.line(object(&item)?) } else { show(&item, &mut output) }
        })?;
        output.flush()?;
        match damages {
            0 => Ok(()),
            some => Err(found(format!("{some} damaged: `dledger log verify` says what a start would do"))),
        }
    }
}

fn object(item: &DumpItem) -> Result<Value, Failure> {
    let mut object = serde_json::to_value(item)?;
    if let DumpItem::Entry(entry) = item {
        for (record, value) in entry.records.iter().zip(object["records"].as_array_mut().into_iter().flatten()) {
            match std::str::from_utf8(&record.body) {
                Ok(text) => value["body"] = text.into(),
                Err(_) => value["body_hex"] = hex(&record.body).into(),
            }
        }
    }
    Ok(object)
}

fn show(item: &DumpItem, output: &mut Output) -> Result<(), Failure> {
    match item {
        DumpItem::File { name, kind, bytes } => {
            let size = bytes.map_or("?".into(), |bytes| ByteSize::b(bytes).to_string());
            output.line(format_args!("file      {name:<26}  {size:>10}  {kind}"))
        }
        DumpItem::Identity { cluster, group, node, incarnation, segment_size } => {
            let size = ByteSize::b(*segment_size);
            output.line(format_args!("identity  cluster {cluster}, group {group}, node {node}, segments of {size}"))?;
            output.line(format_args!("          disk {incarnation}"))
        }
        DumpItem::Start { removed_number, first, position, snapshot_bytes, .. } => {
            let gone = removed_number.map_or("nothing removed".into(), |last| format!("entries up to {last} removed"));
            let snapshot = snapshot_bytes.map_or("no snapshot".into(), |bytes| format!("snapshot of {bytes} bytes"));
            output.line(format_args!("start     index {first} at {position}, {gone}, {snapshot}"))
        }
        DumpItem::Vote { slot, sequence, term, node, granted } => {
            let node = node.as_deref().unwrap_or("nobody");
            let granted = if *granted { ", granted by a quorum" } else { "" };
            output.line(format_args!("vote      slot {slot}, write {sequence}: term {term} for {node}{granted}"))
        }
        DumpItem::Progress { slot, sequence, committed, durable } => {
            let (committed, durable) = (point(committed), point(durable));
            output.line(format_args!("noted     slot {slot}, write {sequence}: committed up to {committed}"))?;
            output.line(format_args!(
                "          {:width$}durable up to {durable}",
                "",
                width = margin(*slot, *sequence)
            ))
        }
        DumpItem::EmptySlot { slot } => output.line(format_args!("noted     slot {slot}: never written")),
        DumpItem::Segment { position, number, index, term, chain, size, .. } => {
            let size = ByteSize::b(*size);
            output.line(format_args!(
                "segment   {position:020}  {size}, begins with entry {number}, index {index}, behind term {term}, \
                 chain {chain:08x}"
            ))?;
            output.line(format_args!(
                "          {:>14}  {:>10}  {:<10}  {:>6}  {:>17}  {:>10}  {:>10}  {:<8}  {:>13}",
                "POSITION", "NUMBER", "KIND", "TERM", "INDEXES", "LENGTH", "COMMITTED", "CHAIN", "TIMESTAMP"
            ))
        }
        DumpItem::Entry(entry) => {
            output.line(row(entry))?;
            entry.records.iter().try_for_each(|record| body(record, output))
        }
        DumpItem::Blank { position, length, chain, seals } => {
            let what = if *seals { "blank to the end of the segment" } else { "blank up to the first entry" };
            let size = ByteSize::b(*length);
            output.line(format_args!("blank     {position:>14}  {what}, {size}, chain {chain:08x}"))
        }
        DumpItem::Damage(finding) => {
            let line = finding.to_string();
            let text = line.split_once(": ").map_or(line.as_str(), |(_, text)| text);
            output.line(format_args!("DAMAGE    {text}"))?;
            match finding.goes_on {
                Some(position) => output.line(format_args!("          goes on at position {position}")),
                None => Ok(()),
            }
        }
        DumpItem::End { position, number, index, chain, damages } => {
            let damages = if *damages == 0 { String::new() } else { format!(", {damages} damaged") };
            output.line(format_args!(
                "end       {position:>14}  number {number}, index {index}, chain {chain:08x}{damages}"
            ))
        }
        // A kind of item this command does not know yet.
        other => output.line(format_args!("{other:?}")),
    }
}

fn margin(slot: u8, sequence: u64) -> usize {
    format!("slot {slot}, write {sequence}: ").len()
}

fn point(point: &DumpPoint) -> String {
    format!("index {}, number {}, position {}, chain {:08x}", point.index, point.number, point.position, point.chain)
}

fn row(entry: &EntryItem) -> String {
    let indexes = match entry.count {
        0 => "-".to_owned(),
        1 => entry.index.to_string(),
        count => format!("{}..{}", entry.index, entry.index + u64::from(count) - 1),
    };
    let EntryItem { position, number, kind, term, length, committed, chain, timestamp, .. } = entry;
    let verified = if entry.verified { "" } else { "  does not fit" };
    format!(
        "entry     {position:>14}  {number:>10}  {:<10}  {term:>6}  {indexes:>17}  {length:>10}  {committed:>10}  \
         {chain:08x}  {timestamp:>13}{verified}",
        kind.name()
    )
}

fn body(record: &DumpedRecord, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("  record  {:>14}  {:>10}  {}", record.position, record.index, readable(&record.body)))
}
