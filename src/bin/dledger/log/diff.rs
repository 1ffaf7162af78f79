//! `dledger log diff`: the first difference of two replicas.

use std::path::PathBuf;

use clap::Args;
use dledger::offline::{Comparison, Difference, EntryItem, Side, diff};
use serde_json::json;

use super::opened;
use crate::output::{Failure, Output, found};

/// Name the first difference of two replicas of a ledger. Fails if there is one, or if one ends earlier.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A ledger's directory.
    left: PathBuf,
    /// That of another replica, or a copy of it.
    right: PathBuf,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (left, right) = (opened(&self.left)?, opened(&self.right)?);
        let comparison = diff(&left, &right)?;
        let mut output = Output::stdout();
        if self.json {
            output.line(json!(comparison))?;
        } else {
            self.words(&comparison).into_iter().try_for_each(|line| output.line(line))?;
        }
        output.flush()?;
        match comparison {
            Comparison::Equal { .. } => Ok(()),
            _ => Err(found("the replicas differ")),
        }
    }

    fn words(&self, comparison: &Comparison) -> Vec<String> {
        match comparison {
            Comparison::Equal { from, to } => vec![format!("equal from position {from} to {to}")],
            Comparison::Prefix { shorter, position, index, number, entries, records } => {
                let shorter = match shorter {
                    Side::Left => &self.left,
                    Side::Right => &self.right,
                };
                let shorter = shorter.display();
                vec![
                    format!("{shorter} has {entries} entries ({records} records) less"),
                    format!("equal up to position {position}, where it ends: index {index}, number {number}"),
                ]
            }
            Comparison::NothingInCommon { left, right } => vec![
                format!("nothing in common: {} has positions {} to {}", self.left.display(), left.start, left.end),
                format!("and {} has positions {} to {}", self.right.display(), right.start, right.end),
            ],
            Comparison::Differ(difference) => self.difference(difference),
        }
    }

    fn difference(&self, difference: &Difference) -> Vec<String> {
        let Difference { position, index, number, first_byte, bytes, left_byte, right_byte, .. } = difference;
        let mut lines = vec![format!("differ at position {position}, index {index}, number {number}")];
        for (dir, item) in [(&self.left, &difference.left), (&self.right, &difference.right)] {
            lines.push(format!("  {}: {}", dir.display(), entry(item.as_ref())));
        }
        for field in &difference.fields {
            lines.push(format!("  {:<10}  {} and {}", field.field, field.left, field.right));
        }
        lines.push(format!(
            "  {bytes} bytes differ, the first at position {first_byte}: {left_byte:02x} and {right_byte:02x}"
        ));
        lines
    }
}

fn entry(item: Option<&EntryItem>) -> String {
    match item {
        Some(entry) => {
            let fits = if entry.verified { "" } else { ", does not fit its bytes" };
            format!("{}, chain value {:08x}{fits}", entry.kind.name(), entry.chain)
        }
        None => "no entry that can be read".into(),
    }
}
