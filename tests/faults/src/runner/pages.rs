//! The page of the run.

use std::io;
use std::path::Path;

use dledger_history::{Event, History};

use super::Profile;
use crate::report::{self, Run};
use crate::scenario::Outcome;

/// Longest history that is drawn; of others the summary tells.
const LONGEST: usize = 2_000_000;

/// The page of the run, as it grows.
pub(super) struct Pages(Run);

impl Pages {
    pub(super) fn new(profile: Profile, seed: u64) -> Self {
        Self(Run::new(format!("{profile}, seed {seed}")))
    }

    /// Takes the history of an outcome, and the judge's report, which nobody needs afterwards.
    pub(super) fn add(&mut self, outcome: &mut Outcome) {
        let (Some(history), Some(judged)) = (&outcome.history, outcome.report.take()) else { return };
        let Ok(events) = History::open(history) else { return };
        let events: Vec<Event> = events.map_while(Result::ok).take(LONGEST).collect();
        self.0.push(report::Scenario::new(&events, &judged).with_replay(&outcome.replay));
    }

    pub(super) fn write(&self, out: &Path) -> io::Result<()> {
        std::fs::write(out.join("report.html"), report::page(&self.0))
    }
}
