//! Simulated clusters, on a thread of their own.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

use super::display::Display;
use crate::sim::{self, Family};

/// How far the simulations stand back.
const NICE: i32 = 10;

/// What came of the simulated seeds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Simulated {
    /// How many ran, of each family.
    pub seeds: BTreeMap<String, u64>,
    /// How often something happened in them.
    pub counts: BTreeMap<String, u64>,
    /// Those that broke a law.
    pub failures: Vec<Failed>,
    /// Those that prove nothing: a fault showed nothing, or a family never did what it is there for.
    pub invalid: Vec<Failed>,
}

/// A seed that broke a law or proves nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Whose.
    pub family: String,
    /// Which one.
    pub seed: u64,
    /// Which law, and what was found instead; or what was not shown.
    pub law: String,
    /// The command that runs it again.
    pub replay: String,
}

impl Failed {
    fn new(family: &Family, seed: u64, law: String) -> Self {
        Self { family: family.name.into(), seed, law, replay: family.replay(seed) }
    }
}

impl Simulated {
    pub(super) fn panicked() -> Self {
        let law = "the thread of the simulations panicked".to_owned();
        let failed = Failed { family: "all".into(), seed: 0, law, replay: String::new() };
        Self { failures: vec![failed], ..Self::default() }
    }

    /// How many ran.
    pub fn total(&self) -> u64 {
        self.seeds.values().sum()
    }
}

/// Runs that number of seeds of each family, one family after the other with each seed: whenever it is stopped, all
/// have had their share.
pub(super) fn run(seed: u64, each: u64, stop: &watch::Receiver<bool>, display: &Display) -> Simulated {
    let mut simulated = Simulated::default();
    // This thread only. The nodes come first: they have clocks to keep. Where that is refused, they have to share.
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut sums: Vec<_> = sim::families().iter().map(|family| (family, 0, sim::Outcome::default())).collect();
    display.simulates(each * sums.len() as u64);
    'all: for seed in (0..each).map(|n| seed.wrapping_mul(1_000_000).wrapping_add(n)) {
        for (family, ran, sum) in &mut sums {
            if *stop.borrow() {
                break 'all;
            }
            *ran += 1;
            match family.run(seed, None) {
                Ok(outcome) => {
                    if outcome.invalid > 0 {
                        simulated.invalid.push(Failed::new(family, seed, outcome.why_invalid()));
                    }
                    sum.add(&outcome);
                }
                Err(failure) => {
                    display.line(&format!("simulation FAILED: {failure}"));
                    simulated.failures.push(Failed::new(family, seed, failure.law));
                }
            }
            display.simulated();
        }
    }
    for (family, ran, sum) in sums {
        if let Err(missing) = family.shown(ran, &sum) {
            display.line(&format!("simulation INVALID: {missing}"));
            simulated.invalid.push(Failed::new(family, seed, missing));
        }
        simulated.seeds.insert(family.name.to_owned(), ran);
        for (what, n) in sum.counts {
            *simulated.counts.entry(what.to_owned()).or_default() += n;
        }
    }
    simulated
}
