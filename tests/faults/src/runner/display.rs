//! What is seen while it runs: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::scenario::{Outcome, Verdict};

/// Characters of a reason.
const REASON: usize = 400;

/// What is seen while it runs.
pub(super) struct Display {
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    scenarios: ProgressBar,
    seeds: ProgressBar,
}

impl Display {
    /// For that number of scenarios, or as many as there is time for.
    pub(super) fn new(scenarios: u64, time: Option<Duration>) -> Self {
        let bars = (stdout().is_terminal() && stderr().is_terminal()).then(|| {
            let all = MultiProgress::new();
            let scenarios = match time {
                Some(_) => ProgressBar::new_spinner(),
                None => ProgressBar::new(scenarios),
            };
            let scenarios = all.add(scenarios);
            let seeds = all.add(ProgressBar::new(0));
            let styled = |bar: &ProgressBar, template: &str| {
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(200));
            };
            styled(&scenarios, "{spinner} processes  {elapsed_precise} {wide_bar} {pos} done, {msg}");
            styled(&seeds, "{spinner} simulation {elapsed_precise} {wide_bar} {pos}/{len} seeds");
            Bars { all, scenarios, seeds }
        });
        Self { bars }
    }

    pub(super) fn begins(&self, scenario: &str) {
        if let Some(bars) = &self.bars {
            bars.scenarios.set_message(scenario.to_owned());
        }
    }

    pub(super) fn outcome(&self, outcome: &Outcome) {
        self.line(&outcome.to_string());
        for reason in &outcome.reasons {
            // The summary has it whole.
            let first: String = reason.lines().next().unwrap_or_default().chars().take(REASON).collect();
            self.line(&format!("    {first}"));
        }
        if matches!(outcome.verdict, Verdict::Fail | Verdict::Invalid) {
            self.line(&format!("    again: {}", outcome.replay));
        }
        if let Some(bars) = &self.bars {
            bars.scenarios.inc(1);
        }
    }

    pub(super) fn simulates(&self, seeds: u64) {
        if let Some(bars) = &self.bars {
            bars.seeds.set_length(seeds);
        }
    }

    pub(super) fn simulated(&self) {
        if let Some(bars) = &self.bars {
            bars.seeds.inc(1);
        }
    }

    pub(super) fn line(&self, line: &str) {
        match &self.bars {
            // A line that cannot be shown is in the report.
            Some(bars) => bars.all.println(line).unwrap_or_default(),
            None => println!("{line}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.scenarios.finish_and_clear();
            bars.seeds.finish_and_clear();
        }
    }
}
