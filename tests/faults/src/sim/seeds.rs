//! Which seeds run, and which one failed.

use std::time::Instant;

use super::{Failure, Family, Outcome, Schedule};

/// Runs that may be made to find a smaller schedule.
const SHRINK: usize = 40;

/// Runs the usual seeds of a family, or those that the environment names. Prints what was done and what was not.
///
/// # Panics
/// If a law is broken, with the smallest schedule found that breaks one.
pub fn each(family: &Family) {
    let name = family.name;
    let history = std::env::var_os("DLEDGER_HISTORY");
    let history = history.as_ref().map(std::path::Path::new);
    if let Some(seed) = number("DLEDGER_SEED") {
        let given = std::env::var("DLEDGER_SCHEDULE").ok().map(|schedule| Schedule::read(&schedule));
        let is_given = given.is_some();
        let outcome = match given.or_else(|| family.schedule(seed)) {
            Some(schedule) => {
                println!("{name}: seed {seed}:\n{}", schedule.text());
                family.run_with(seed, Some(&schedule), history)
            }
            None => family.run(seed, history),
        };
        match outcome {
            Ok(outcome) => println!("{name}: seed {seed}: {outcome}"),
            Err(failure) if is_given => panic!("{failure}"),
            Err(failure) => panic!("{failure}{}", smallest(family, &failure)),
        }
        return;
    }
    let (seeds, began) = (number("DLEDGER_SEEDS").unwrap_or(family.seeds), Instant::now());
    let mut sum = Outcome::default();
    for seed in 0..seeds {
        match family.run(seed, None) {
            Ok(outcome) => sum.add(&outcome),
            Err(failure) => panic!("{failure}{}", smallest(family, &failure)),
        }
    }
    let rate = seeds as f64 / began.elapsed().as_secs_f64();
    println!("{name}: {seeds} seeds, {rate:.1} a second: {sum}");
    if seeds <= family.seeds {
        println!("{name}: seeds from {seeds} on were skipped: DLEDGER_SEEDS=1000 runs a thousand");
    }
    assert_eq!(sum.invalid, 0, "{name}: runs that prove nothing: {sum}");
    family.shown(seeds, &sum).unwrap_or_else(|missing| panic!("{missing}"));
}

/// What to do to see the failure with as little as possible around it.
fn smallest(family: &Family, failure: &Failure) -> String {
    let Some(schedule) = family.shrink(failure.seed, SHRINK) else { return String::new() };
    let file = std::env::temp_dir().join(format!("dledger-{}-{}.schedule", family.name, failure.seed));
    let text = schedule.text();
    let how = match std::fs::write(&file, &text) {
        Ok(()) => format!("DLEDGER_SCHEDULE={} {}", file.display(), failure.replay),
        Err(error) => format!("(it could not be written to {}: {error})", file.display()),
    };
    let steps = schedule.0.len();
    format!("\nthe smallest schedule found that fails has {steps} steps:\n{text}\nrun that: {how}")
}

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}
