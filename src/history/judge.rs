//! Judges a history, event by event.

use super::{Counts, Event, Report, Verdict};

/// The judgement of a whole history.
pub fn check(events: impl IntoIterator<Item = Event>) -> Report {
    let mut judge = Judge::new();
    events.into_iter().for_each(|event| judge.push(event));
    judge.finish()
}

/// Judges a history, event by event.
#[derive(Debug, Default)]
pub struct Judge {
    counts: Counts,
}

impl Judge {
    /// Of an empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next line.
    pub fn push(&mut self, _event: Event) {
        self.counts.events += 1;
    }

    /// The judgement.
    pub fn finish(self) -> Report {
        let invalid = vec!["the judge is not built yet".to_owned()];
        Report { verdict: Verdict::Invalid, counts: self.counts, violations: Vec::new(), invalid }
    }
}
