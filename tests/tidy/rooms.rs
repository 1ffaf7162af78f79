//! What a folder of the library says of itself: its `mod.rs` is its table of contents.

use std::collections::BTreeSet;

use super::source::Source;

/// Files that no table lists: tests, and what is listed by another folder's table.
fn listed(path: &str) -> bool {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.starts_with("src/") && !path.starts_with("src/bin/") && !stem.ends_with("tests") && !path.contains("tests/")
}

/// Every folder under `src/` has a table in its `mod.rs` that names each of its files and folders, and nothing else.
pub(crate) fn tables(all: &[Source]) -> Vec<String> {
    let rooms = all.iter().filter(|source| listed(&source.path) && source.path.ends_with("/mod.rs"));
    rooms.flat_map(|room| table(room, &contents(room, all))).collect()
}

/// Names of the files and folders that lie in the folder of a `mod.rs`.
fn contents(room: &Source, all: &[Source]) -> BTreeSet<String> {
    let folder = room.path.trim_end_matches("mod.rs");
    let inside = all.iter().filter(|source| listed(&source.path)).filter_map(|source| source.path.strip_prefix(folder));
    let names = inside.map(|path| path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned());
    names.filter(|name| name != "mod").collect()
}

fn table(room: &Source, contents: &BTreeSet<String>) -> Vec<String> {
    let mut missing = contents.clone();
    let mut found = Vec::new();
    for (line, text) in (1..).zip(room.text.lines()) {
        let Some(row) = text.strip_prefix("//! | ") else { continue };
        // Every second piece stands between backticks.
        for name in row.split('|').next().unwrap_or(row).split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches("mod@").trim_end_matches('/');
            if !contents.contains(name) && !matches!(name, "mod" | "tests") {
                found.push(room.finding(line, format!("the table names {name}, which is not in this folder")));
            }
            missing.remove(name);
        }
    }
    found.extend(missing.iter().map(|name| room.finding(1, format!("the table of the folder does not name {name}"))));
    found
}
