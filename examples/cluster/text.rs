//! The lines to append.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::Result;

/// `count` records: a number of its own, a tab, and a line of the files, which are repeated as often as it takes. The
/// number makes each record unique, so that none can pass for another.
pub(crate) fn lines(files: &[PathBuf], count: usize, pad: usize) -> Result<Vec<Bytes>> {
    let mut all = Vec::new();
    let own = if files.is_empty() { own_files()? } else { Vec::new() };
    for file in files.iter().chain(&own) {
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        all.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
    }
    if all.is_empty() {
        return Err("the input has no lines: name a file that has".into());
    }
    let record = |(number, line): (usize, &String)| {
        let mut record = format!("{number}\t{line}");
        if record.len() < pad {
            let missing = pad - record.len();
            let _ = write!(record, "{:missing$}", "");
        }
        Bytes::from(record)
    };
    Ok((0..count).zip(all.iter().cycle()).map(record).collect())
}

/// The number a record begins with.
pub(crate) fn number(record: &[u8]) -> Option<usize> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    std::str::from_utf8(&record[..tab]).ok()?.parse().ok()
}

/// The sources and documents of this repository.
fn own_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dirs: Vec<PathBuf> = ["src", "proto", "docs", "examples", "tests"].iter().map(|d| root.join(d)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => dirs.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}
