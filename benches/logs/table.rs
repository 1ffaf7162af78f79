//! The figures side by side, and ours against the best of the others.

use std::path::PathBuf;

use serde_json::Value;

use crate::append::BARE;
use crate::peers::PEERS;

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Records a second: more is better.
    PerSecond,
    /// Less is better.
    Milliseconds,
}

/// All tables of a run.
pub struct Tables {
    /// Where criterion left its estimates.
    estimates: PathBuf,
    tables: Vec<Table>,
    /// How many of them have been printed.
    printed: usize,
}

struct Table {
    title: String,
    unit: Unit,
    rows: Vec<(String, Vec<Cell>)>,
}

/// A place in a table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    table: usize,
    row: usize,
}

struct Cell {
    peer: &'static str,
    value: f64,
    /// The peer promises less than the others in this row.
    weaker: bool,
}

impl Tables {
    pub fn new(estimates: PathBuf) -> Self {
        Self { estimates, tables: Vec::new(), printed: 0 }
    }

    /// Begins a table. Returns its number.
    pub fn begin(&mut self, title: &str, unit: Unit) -> usize {
        self.tables.push(Table { title: title.into(), unit, rows: Vec::new() });
        self.tables.len() - 1
    }

    pub fn row(&mut self, table: usize, title: &str) -> Row {
        let rows = &mut self.tables[table].rows;
        rows.push((title.into(), Vec::new()));
        Row { table, row: rows.len() - 1 }
    }

    pub fn put(&mut self, row: Row, peer: &'static str, value: f64, weaker: bool) {
        self.tables[row.table].rows[row.row].1.push(Cell { peer, value, weaker });
    }

    /// Puts what criterion measured of `peer` in `group`; nothing if that was filtered out.
    pub fn measured(&mut self, row: Row, peer: &'static str, group: &str, per_iteration: f64, weaker: bool) {
        let file = self.estimates.join(group).join(peer).join("new").join("estimates.json");
        let Ok(text) = std::fs::read_to_string(&file) else { return };
        let estimates: Value = serde_json::from_str(&text).expect("criterion writes JSON");
        let nanoseconds = estimates["median"]["point_estimate"].as_f64().expect("criterion estimates the median");
        self.put(row, peer, per_iteration * 1e9 / nanoseconds, weaker);
    }

    /// Prints what was measured since it was last called. Rows of these tables are not to be put anything in any more.
    pub fn print(&mut self) {
        for table in &self.tables[std::mem::replace(&mut self.printed, self.tables.len())..] {
            let rows: Vec<_> = table.rows.iter().filter(|(_, cells)| !cells.is_empty()).collect();
            if rows.is_empty() {
                continue;
            }
            let unit = if table.unit == Unit::PerSecond { "records/s" } else { "ms" };
            let has = |name: &str| rows.iter().any(|(_, cells)| cells.iter().any(|cell| cell.peer == name));
            let names: Vec<_> =
                PEERS.iter().map(|peer| peer.name).chain([BARE].into_iter().filter(|b| has(b))).collect();
            println!("\n| {}: {unit} | {} | ratio |", table.title, names.join(" | "));
            println!("|---|{}", "---|".repeat(names.len() + 1));
            for (title, cells) in rows {
                let of = |name: &&str| {
                    let cell = cells.iter().find(|cell| cell.peer == *name);
                    cell.map_or("–".into(), |c| {
                        format!("{}{}", table.unit.show(c.value), if c.weaker { " *" } else { "" })
                    })
                };
                let shown: Vec<_> = names.iter().map(of).collect();
                println!("| {title} | {} | {} |", shown.join(" | "), ratio(table.unit, cells));
            }
        }
    }
}

/// How many times better dledger is than the best of those that promise as much.
fn ratio(unit: Unit, cells: &[Cell]) -> String {
    let (ours, others): (Vec<_>, Vec<_>) = cells.iter().partition(|cell| cell.peer == PEERS[0].name);
    let others = others.into_iter().filter(|cell| !cell.weaker).map(|cell| cell.value);
    let best = match unit {
        Unit::PerSecond => others.reduce(f64::max),
        Unit::Milliseconds => others.reduce(f64::min),
    };
    let (Some(ours), Some(best)) = (ours.first(), best) else { return "–".into() };
    let ratio = if unit == Unit::PerSecond { ours.value / best } else { best / ours.value };
    format!("{ratio:.2}")
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format!("{value:.1}"),
            Unit::PerSecond if value >= 1e6 => format!("{:.2} M", value / 1e6),
            Unit::PerSecond if value >= 1e4 => format!("{:.0} k", value / 1e3),
            Unit::PerSecond => format!("{value:.0}"),
        }
    }
}
