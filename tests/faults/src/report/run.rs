//! All scenarios of a page.

use std::collections::HashMap;

use dledger_history::Verdict;

use super::Scenario;

/// Scenarios of one name that passed and are shown with their timeline: the others are alike.
const PASSED_SHOWN: usize = 2;
/// Scenarios that did not pass and are shown with their timeline.
const OTHERS_SHOWN: usize = 40;

/// All scenarios of a page.
#[derive(Debug, Clone)]
pub struct Run {
    title: String,
    scenarios: Vec<Scenario>,
    passed_shown: HashMap<String, usize>,
    others_shown: usize,
}

impl Run {
    /// A run without scenarios. `title` says what it was: the profile, the commit.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), scenarios: Vec::new(), passed_shown: HashMap::new(), others_shown: 0 }
    }

    /// One more scenario. Of thousands of seeds of one scenario, those that passed are counted and only the first are
    /// shown: a run of any length fits in memory and in a page.
    pub fn push(&mut self, mut scenario: Scenario) {
        let (shown, most) = match scenario.verdict() {
            Verdict::Pass => (self.passed_shown.entry(scenario.name.clone()).or_default(), PASSED_SHOWN),
            _ => (&mut self.others_shown, OTHERS_SHOWN),
        };
        if *shown < most {
            *shown += 1;
        } else {
            scenario.shown = None;
        }
        self.scenarios.push(scenario);
    }

    /// What it was.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// In the order they were added.
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }
}
