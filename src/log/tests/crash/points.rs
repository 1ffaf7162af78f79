//! How many crash points are checked, and which seed is at work.

use std::cell::Cell;

/// What the environment asks for.
pub(crate) struct Points {
    name: &'static str,
    checked: Cell<u64>,
    seed: Cell<u64>,
}

impl Points {
    /// Runs `simulate`, which returns the number of crash points it has checked, for `usual` seeds or as the
    /// environment says. Prints how many seeds ran and how many did not.
    pub(crate) fn each(name: &'static str, usual: u64, simulate: impl Fn(u64) -> u64) {
        let (seed, seeds, points) = (number("DLEDGER_SEED"), number("DLEDGER_SEEDS"), number("DLEDGER_CRASH_POINTS"));
        let first = seed.unwrap_or(0);
        let last = match (seed, seeds, points) {
            (_, _, Some(_)) => u64::MAX,
            (Some(seed), _, None) => seed + 1,
            (None, seeds, None) => seeds.unwrap_or(usual),
        };
        let this = Self { name, checked: Cell::new(0), seed: Cell::new(first) };
        for seed in first..last {
            if points.is_some_and(|points| this.checked.get() >= points) {
                break;
            }
            this.seed.set(seed);
            this.checked.set(this.checked.get() + simulate(seed));
        }
        let (checked, next) = (this.checked.get(), this.seed.get() + 1);
        println!("{name}: {checked} crash points, seed {first}, 0 violations");
        if points.is_none() {
            println!("{name}: seeds from {next} on were skipped: DLEDGER_CRASH_POINTS=100000 goes on");
        }
        std::mem::forget(this);
    }
}

impl Drop for Points {
    /// Only a panic gets here: a law was broken.
    fn drop(&mut self) {
        let (name, seed) = (self.name, self.seed.get());
        eprintln!(
            "{name}: seed {seed} failed after {} crash points: DLEDGER_SEED={seed} runs it again",
            self.checked.get()
        );
    }
}

/// A number from the environment.
pub(crate) fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}
