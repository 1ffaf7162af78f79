//! Which seeds run, each in a process of its own, and which one failed.
//!
//! A process of its own: what was random before, in the same process, would shift what comes after.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use dledger_faults::wire::Outcome;

use crate::system;

/// What runs: its name and its seed.
pub type Scenario = fn(&str, u64) -> Outcome;

/// The seed to run; none: all of them, each in a process of its own.
const SEED: &str = "DLEDGER_SEED";
/// Real time within which a scenario of some tens of simulated seconds ends, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(300);

/// Panics so far, of any task.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Runs the scenario of `test` for each seed: `usual` many, or what the environment says.
pub fn each(test: &str, usual: u64, scenario: Scenario) {
    if let Some(seed) = number(SEED) {
        println!("{test}: seed {seed}: {}", one(test, seed, scenario));
        return;
    }
    let seeds = number("DLEDGER_SEEDS").unwrap_or(usual);
    for seed in 0..seeds {
        println!("{}", in_a_process(test, seed));
    }
    if seeds <= usual {
        println!("{test}: seeds from {seeds} on were skipped: DLEDGER_SEEDS=100 runs a hundred");
    }
}

/// What the run of a seed prints in a process of its own.
pub fn in_a_process(test: &str, seed: u64) -> String {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let run = command.args([test, "--exact", "--nocapture"]).env(SEED, seed.to_string()).output();
    let output = run.expect("this program runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{test}: seed {seed} failed: {SEED}={seed} cargo test -p dledger-faults --test wire {test}\n{out}\n{err}"
    );
    let line = out.lines().find(|line| line.contains(": seed "));
    line.unwrap_or_else(|| panic!("no outcome in {out}")).to_owned()
}

/// Runs a scenario with `seed`, on a thread that has asked the system for nothing yet.
fn one(test: &str, seed: u64, scenario: Scenario) -> Outcome {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        report(panic);
    }));
    let (done, end) = mpsc::channel();
    let test = test.to_owned();
    let thread = std::thread::spawn(move || {
        system::simulate(seed);
        let outcome = scenario(&test, seed);
        // Nobody waits any more: the time is over, and was reported.
        let _ = done.send(outcome);
    });
    let outcome = match end.recv_timeout(BOUND) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("seed {seed} has not ended within {BOUND:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("seed {seed} failed"),
    };
    // Its last destructors.
    thread.join().expect("it ended");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a task panicked");
    outcome
}

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}
