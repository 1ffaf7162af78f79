//! What the machine could do, in a line: a run with less is not the same run.

use std::collections::BTreeMap;
use std::fmt;

use crate::scenario::Outcome;

/// Characters of a reason.
const REASON: usize = 120;

/// What the machines of these runs could do.
pub(super) struct Means<'a>(pub(super) &'a [Outcome]);

impl fmt::Display for Means<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The others had no machine.
        let made = || self.0.iter().filter(|run| !run.means.is_empty() || !run.missing.is_empty());
        let Some(first) = made().next() else { return f.write_str("means: none, for no machine could be made") };
        let mut missing: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for (name, why) in made().flat_map(|run| &run.missing) {
            missing.entry(name).or_insert((0, why)).0 += 1;
        }
        let always: Vec<&str> = first.means.iter().copied().filter(|name| !missing.contains_key(name)).collect();
        write!(f, "means: {}", if always.is_empty() { "none".to_owned() } else { always.join(", ") })?;
        let of = made().count();
        let each = missing.into_iter().map(|(name, (runs, why))| {
            let why: String = why.lines().next().unwrap_or_default().chars().take(REASON).collect();
            if runs == of { format!("{name} ({why})") } else { format!("{name} in {runs} of {of} runs ({why})") }
        });
        let each: Vec<String> = each.collect();
        if each.is_empty() { Ok(()) } else { write!(f, "; missing: {}", each.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Verdict;
    use crate::workload::Figures;

    fn run(means: &[&'static str], missing: &[&'static str]) -> Outcome {
        Outcome {
            scenario: String::new(),
            seed: 0,
            verdict: Verdict::Pass,
            reasons: Vec::new(),
            figures: Figures::default(),
            faults: BTreeMap::new(),
            longest_gap_ms: 0,
            agree_ms: None,
            seconds: 0.0,
            means: means.to_vec(),
            missing: missing.iter().map(|name| (*name, "not root".to_owned())).collect(),
            replay: String::new(),
            history: None,
            report: None,
        }
    }

    #[test]
    fn what_was_missing_in_some_runs_only_is_counted() {
        let told = |runs: &[Outcome]| Means(runs).to_string();
        let (all, less) = (run(&["a", "b"], &[]), run(&["a"], &["b"]));
        assert_eq!(told(&[all.clone(), all.clone()]), "means: a, b");
        assert_eq!(told(&[less.clone(), less.clone()]), "means: a; missing: b (not root)");
        let no_machine = run(&[], &[]);
        assert_eq!(told(&[all, less, no_machine.clone()]), "means: a; missing: b in 1 of 2 runs (not root)");
        assert_eq!(told(&[no_machine]), "means: none, for no machine could be made");
        assert_eq!(told(&[run(&[], &["a"])]), "means: none; missing: a (not root)");
    }
}
