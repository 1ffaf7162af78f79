//! Simulated clusters, on a thread of their own.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

use super::display::Display;
use crate::sim;

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
}

/// A seed that broke a law.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Whose.
    pub family: String,
    /// Which one.
    pub seed: u64,
    /// Which law, and what was found instead.
    pub law: String,
    /// The command that runs it again.
    pub replay: String,
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

/// Runs so many seeds of each family, one family after the other with each seed: whenever it is stopped, all have had
/// their share.
pub(super) fn run(seed: u64, each: u64, stop: &watch::Receiver<bool>, display: &Display) -> Simulated {
    let mut simulated = Simulated::default();
    // This thread only. The nodes come first: they have clocks to keep. Where that is refused, they have to share.
    let _ = rustix::process::setpriority_process(None, NICE);
    let families = sim::families();
    display.simulates(each * families.len() as u64);
    for seed in (0..each).map(|n| seed.wrapping_mul(1_000_000).wrapping_add(n)) {
        for family in families {
            if *stop.borrow() {
                return simulated;
            }
            match family.run(seed, None) {
                Ok(outcome) => {
                    for (what, n) in outcome.counts {
                        *simulated.counts.entry(what.to_owned()).or_default() += n;
                    }
                }
                Err(failure) => {
                    display.line(&format!("simulation FAILED: {failure}"));
                    simulated.failures.push(Failed {
                        family: failure.family.into(),
                        seed: failure.seed,
                        law: failure.law,
                        replay: failure.replay,
                    });
                }
            }
            *simulated.seeds.entry(family.name.to_owned()).or_default() += 1;
            display.simulated();
        }
    }
    simulated
}
