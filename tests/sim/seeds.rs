//! Which seeds run, and which one failed.

use std::fmt::Display;

/// What comes of a simulation, and of many.
pub(crate) trait Sum: Default + Display + std::fmt::Debug {
    /// Adds what came of another one.
    fn add(&mut self, other: &Self);
}

/// Runs `simulate` for each seed: `usual` many, or what the environment says. Prints what was done and what was not.
pub(crate) fn each<T: Sum>(name: &str, usual: u64, simulate: impl Fn(u64) -> T) {
    let number = |key| std::env::var(key).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("DLEDGER_SEED") {
        println!("{name}: seed {seed}: {:?}", one(name, seed, &simulate));
        return;
    }
    let seeds = number("DLEDGER_SEEDS").unwrap_or(usual);
    let mut sum = T::default();
    for seed in 0..seeds {
        sum.add(&one(name, seed, &simulate));
    }
    println!("{name}: {seeds} seeds: {sum}");
    if seeds <= usual {
        println!("{name}: seeds from {seeds} on were skipped: DLEDGER_SEEDS=1000 runs a thousand");
    }
}

fn one<T>(name: &str, seed: u64, simulate: &impl Fn(u64) -> T) -> T {
    let told = Told { name, seed };
    let outcome = simulate(seed);
    std::mem::forget(told);
    outcome
}

/// Tells the seed when a simulation panics.
struct Told<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("{}: seed {} failed: DLEDGER_SEED={} runs it again", self.name, self.seed, self.seed);
    }
}
