//! The page of a history that lies in a file.

use std::path::Path;

use dledger_history::{Event, History, HistoryError, Verdict, check};

use super::{Run, Scenario, page};

/// The page of the history in the file `path`. A file that ends within a line is shown up to there: that is what a
/// recorder that was killed leaves, and then most of all one wants to see it.
///
/// # Errors
/// The file cannot be read, or a line is no event.
pub fn from_history(path: &Path) -> Result<String, HistoryError> {
    let mut events: Vec<Event> = Vec::new();
    let mut cut = None;
    for event in History::open(path)? {
        match event {
            Ok(event) => events.push(event),
            Err(error @ HistoryError::CutShort { .. }) => cut = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let mut report = check(events.iter().cloned());
    if let Some(cut) = cut {
        report.invalid.push(cut);
        if report.verdict == Verdict::Pass {
            report.verdict = Verdict::Invalid;
        }
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut run = Run::new(name);
    run.push(Scenario::new(&events, &report));
    Ok(page(&run))
}
