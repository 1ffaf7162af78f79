//! What came of the gate, as a table.

use std::fmt;
use std::time::Duration;

use super::patch::Patch;
use super::trial::{End, Trial};

/// What came of all trials.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The same tests without a mutant.
    pub control: Vec<Trial>,
    /// Each mutant and its trials; none if the time was over.
    pub mutants: Vec<(Patch, Vec<Trial>)>,
    /// How long all of it took.
    pub took: Duration,
}

impl Verdict {
    /// The trial that caught the mutant.
    fn catch(trials: &[Trial]) -> Option<&Trial> {
        trials.iter().find(|trial| matches!(trial.end, End::Law(_)))
    }

    /// Mutants that no test found a law broken for.
    pub fn survivors(&self) -> Vec<&str> {
        let alive = self.mutants.iter().filter(|(_, trials)| !trials.is_empty() && Self::catch(trials).is_none());
        alive.map(|(patch, _)| patch.name.as_str()).collect()
    }

    /// Mutants that the time did not suffice for.
    pub fn not_tried(&self) -> Vec<&str> {
        let left = self.mutants.iter().filter(|(_, trials)| trials.is_empty());
        left.map(|(patch, _)| patch.name.as_str()).collect()
    }

    /// Trials of the control that did not pass.
    pub fn false_alarms(&self) -> Vec<&Trial> {
        self.control.iter().filter(|trial| trial.end != End::Passed).collect()
    }

    /// Whether every mutant was caught, and nothing else.
    pub fn is_good(&self) -> bool {
        self.survivors().is_empty() && self.not_tried().is_empty() && self.false_alarms().is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| mutant | caught by | seeds | build, s | test, s | law |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for (patch, trials) in &self.mutants {
            let (building, testing) = (sum(trials, |trial| trial.building), sum(trials, |trial| trial.testing));
            let caught = Self::catch(trials);
            let by = caught.map_or("**nobody**".to_owned(), |trial| trial.detector.layer.to_string());
            let seeds = caught.and_then(|trial| trial.seed).map_or("–".to_owned(), |seed| (seed + 1).to_string());
            let law = caught.or(trials.last()).map_or("not tried: the time was over".into(), Trial::what);
            writeln!(f, "| `{}` | {by} | {seeds} | {building:.1} | {testing:.1} | {law} |", patch.name)?;
        }
        let (all, alive, left, alarms) = (self.mutants.len(), self.survivors(), self.not_tried(), self.false_alarms());
        let took = self.took.as_secs();
        writeln!(
            f,
            "\n{} of {all} mutants caught in {} min {} s.",
            all - alive.len() - left.len(),
            took / 60,
            took % 60
        )?;
        if !alive.is_empty() {
            writeln!(f, "Not caught: {}.", alive.join(", "))?;
        }
        if !left.is_empty() {
            writeln!(f, "Not tried: {}.", left.join(", "))?;
        }
        let passed = self.control.len() - alarms.len();
        let (building, testing) =
            (sum(&self.control, |trial| trial.building), sum(&self.control, |trial| trial.testing));
        writeln!(
            f,
            "Control: {passed} of {} tests passed; build {building:.0} s, tests {testing:.0} s.",
            self.control.len()
        )?;
        alarms.iter().try_for_each(|trial| writeln!(f, "Without a mutant, {}: {}", trial.detector, trial.what()))
    }
}

fn sum(trials: &[Trial], part: fn(&Trial) -> Duration) -> f64 {
    trials.iter().map(part).sum::<Duration>().as_secs_f64()
}

impl Trial {
    /// How it ended, in a cell of a table.
    pub fn what(&self) -> String {
        let cell = |text: &str| text.chars().take(110).collect::<String>().replace('|', "/").replace('\n', " ");
        match &self.end {
            End::Law(law) => format!("`{}`: {}", law.test, cell(&law.found)),
            End::Passed => "passed".into(),
            End::Died(why) => format!("no law, the program died: {}", cell(why)),
            End::Hung => "no law, the test did not end".into(),
            End::NotBuilt(why) => cell(why),
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mutant = self.mutant.as_deref().unwrap_or("no mutant");
        let (building, testing) = (self.building.as_secs_f64(), self.testing.as_secs_f64());
        write!(f, "{mutant}: {} (build {building:.1} s, test {testing:.1} s): {}", self.detector, self.what())
    }
}
