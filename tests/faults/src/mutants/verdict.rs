//! What came of the gate, as a table.

use std::fmt;

use super::table::Case;
use super::trial::{End, Trial};

/// What came of all trials.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The same tests without a mutant.
    pub control: Vec<Trial>,
    /// Each mutant and its trials.
    pub mutants: Vec<(&'static Case, Vec<Trial>)>,
}

impl Verdict {
    /// The trial that caught the mutant.
    fn catch(trials: &[Trial]) -> Option<&Trial> {
        trials.iter().find(|trial| matches!(trial.end, End::Law(_)))
    }

    /// Mutants that no law was broken for.
    pub fn survivors(&self) -> Vec<&'static str> {
        let alive = self.mutants.iter().filter(|(_, trials)| Self::catch(trials).is_none());
        alive.map(|(case, _)| case.mutant).collect()
    }

    /// Trials of the control that did not pass.
    pub fn false_alarms(&self) -> Vec<&Trial> {
        self.control.iter().filter(|trial| trial.end != End::Passed).collect()
    }

    /// Whether every mutant was caught, and nothing else.
    pub fn is_good(&self) -> bool {
        self.survivors().is_empty() && self.false_alarms().is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| mutant | caught by | seeds | seconds | law |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for (case, trials) in &self.mutants {
            let seconds = trials.iter().map(|trial| trial.took.as_secs_f64()).sum::<f64>();
            let caught = Self::catch(trials);
            let by = caught.map_or("**nobody**".to_owned(), |trial| trial.detector.layer.to_string());
            let seeds = caught.and_then(|trial| trial.seed).map_or("–".to_owned(), |seed| (seed + 1).to_string());
            let law = caught.or(trials.last()).map_or_else(String::new, |trial| trial.what());
            writeln!(f, "| `{}` | {by} | {seeds} | {seconds:.1} | {law} |", case.mutant)?;
        }
        let (all, alive, alarms) = (self.mutants.len(), self.survivors(), self.false_alarms());
        writeln!(f, "\n{} of {all} mutants caught.", all - alive.len())?;
        if !alive.is_empty() {
            writeln!(f, "Not caught: {}.", alive.join(", "))?;
        }
        let control = self.control.iter().map(|trial| trial.took.as_secs_f64()).sum::<f64>();
        writeln!(
            f,
            "Control: {} of {} tests passed in {control:.0} s.",
            self.control.len() - alarms.len(),
            self.control.len()
        )?;
        alarms.iter().try_for_each(|trial| writeln!(f, "Without a mutant, {}: {}", trial.detector, trial.what()))
    }
}

impl Trial {
    /// How it ended, in a cell of a table.
    pub fn what(&self) -> String {
        let cell = |text: &str| text.chars().take(110).collect::<String>().replace('|', "/").replace('\n', " ");
        match &self.end {
            End::Law(law) => format!("`{}`: {}", law.test, cell(&law.found)),
            End::Passed if self.mutant.is_some() && !self.reached => "passed: the bug was never come across".into(),
            End::Passed => "passed".into(),
            End::Died(why) => format!("no law, the program died: {}", cell(why)),
            End::Hung => format!("no law within {:?}", self.detector.limit),
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mutant = self.mutant.unwrap_or("no mutant");
        write!(f, "{mutant}: {} ({:.1} s): {}", self.detector, self.took.as_secs_f64(), self.what())
    }
}
