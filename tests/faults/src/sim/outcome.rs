//! What came of a simulation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of one simulation, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Hash and number of all events; of many runs, the number only.
    pub trace: (u64, u64),
    /// How much time went by in there.
    pub virtual_time: Duration,
    /// How often something happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long something took at most.
    pub longest: BTreeMap<&'static str, Duration>,
    /// Runs that do not prove what they claim.
    pub invalid: u64,
    /// Why not, and how often.
    pub reasons: BTreeMap<String, u64>,
}

impl Outcome {
    /// Counts something `n` more times.
    pub fn count(&mut self, what: &'static str, n: u64) {
        *self.counts.entry(what).or_default() += n;
    }

    /// How often something happened.
    pub fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Something took so long.
    pub fn took(&mut self, what: &'static str, time: Duration) {
        let longest = self.longest.entry(what).or_default();
        *longest = time.max(*longest);
    }

    /// This run does not prove what it claims.
    pub(super) fn is_invalid(&mut self, why: String) {
        self.invalid = 1;
        // Numbers are of one run: reasons of many are to be counted.
        let why = why.split(' ').filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
        *self.reasons.entry(why.collect::<Vec<_>>().join(" ")).or_default() += 1;
    }

    /// Why runs do not prove what they claim, and how often.
    pub fn why_invalid(&self) -> String {
        self.reasons.iter().map(|(why, n)| format!("{n} × {why}")).collect::<Vec<_>>().join("; ")
    }

    /// Adds what came of another one.
    pub fn add(&mut self, other: &Self) {
        self.trace = (0, self.trace.1 + other.trace.1);
        self.virtual_time += other.virtual_time;
        other.counts.iter().for_each(|(what, n)| self.count(what, *n));
        self.invalid += other.invalid;
        other.reasons.iter().for_each(|(why, n)| *self.reasons.entry(why.clone()).or_default() += n);
        other.longest.iter().for_each(|(what, time)| self.took(what, *time));
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.iter().map(|(what, n)| format!("{n} {what}"));
        let longest = self.longest.iter().map(|(what, time)| format!("{what} at most {time:?}"));
        let rest = [format!("{} events", self.trace.1), format!("{:?} of virtual time", self.virtual_time)];
        let invalid = (self.invalid > 0).then(|| format!("{} runs INVALID: {}", self.invalid, self.why_invalid()));
        f.write_str(&counts.chain(rest).chain(longest).chain(invalid).collect::<Vec<_>>().join(", "))
    }
}
