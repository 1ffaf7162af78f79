//! Which seeds run, and which one failed.

use std::time::Instant;

use super::{Family, Outcome};

/// Runs the usual seeds of a family, or those that the environment names. Prints what was done and what was not.
///
/// # Panics
/// If a law is broken.
pub fn each(family: &Family) {
    let name = family.name;
    let one = |seed| family.run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
    if let Some(seed) = number("DLEDGER_SEED") {
        println!("{name}: seed {seed}: {:?}", one(seed));
        return;
    }
    let (seeds, began) = (number("DLEDGER_SEEDS").unwrap_or(family.seeds), Instant::now());
    let mut sum = Outcome::default();
    for seed in 0..seeds {
        sum.add(&one(seed));
    }
    let rate = seeds as f64 / began.elapsed().as_secs_f64();
    println!("{name}: {seeds} seeds, {rate:.1} a second: {sum}");
    if seeds <= family.seeds {
        println!("{name}: seeds from {seeds} on were skipped: DLEDGER_SEEDS=1000 runs a thousand");
    }
}

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}
