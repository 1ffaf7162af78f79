//! `dledger-faults run`: scenarios one after the other, simulated seeds beside them, and what came of all that.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`run`] |
//! | `profile` | [`Profile`]: what belongs to a run |
//! | `seeds` | simulated clusters, on a thread of their own |
//! | `display` | what is seen while it runs |
//! | `pages` | the page of the run |
//! | `means` | what the machine could do |
//! | `summary` | [`Summary`]: what came of it, as a table and as JSON |

mod display;
mod means;
mod pages;
mod profile;
mod seeds;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use profile::Profile;
pub use seeds::{Failed, Simulated};
pub use summary::Summary;

use crate::rng::Rng;
use crate::scenario::{self, Outcome, Plan, Scenario, Verdict};
use display::Display;
use pages::Pages;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Job {
    /// What belongs to it.
    pub profile: Profile,
    /// What determines chance.
    pub seed: u64,
    /// How long a soak lasts.
    pub minutes: u64,
    /// These scenarios only; all of the profile if there are none.
    pub only: Vec<String>,
    /// Simulated seeds of each family, instead of the profile's.
    pub seeds: Option<u64>,
    /// Where histories, logs and the report go.
    pub out: PathBuf,
    /// The command that is tested.
    pub binary: PathBuf,
    /// Whether histories of runs that passed are kept.
    pub keep: bool,
}

/// Runs all of it. `stop` ends it early.
///
/// # Errors
/// What is asked for does not exist, or nothing can be written.
pub fn run(job: &Job, stop: &watch::Receiver<bool>) -> Result<Summary, String> {
    let scenarios = job.profile.scenarios(&job.only)?;
    let told = |error| format!("{}: {error}", job.out.display());
    fs::create_dir_all(&job.out).map_err(told)?;
    let began = Instant::now();
    let end = job.profile.loops().then(|| began + Duration::from_secs(job.minutes * 60));
    let display = Display::new(scenarios.len() as u64, end.map(|end| end - began));
    let mut summary = Summary::new(job.profile, job.seed);
    let mut pages = Pages::new(job.profile, job.seed);
    std::thread::scope(|threads| {
        let seeds = job.seeds.unwrap_or(job.profile.seeds());
        let (display, stopping) = (&display, stop.clone());
        let simulated = threads.spawn(move || seeds::run(job.seed, seeds, &stopping, display));
        // Without scenarios, a soak is one of seeds.
        let mut rng = Rng::new(job.seed);
        let mut first = true;
        while first || (end.is_some_and(|end| Instant::now() < end) && !scenarios.is_empty()) {
            // Asked for by a seed from a report, a scenario gets that very seed.
            let seed = if first { job.seed } else { rng.number() >> 32 };
            for scenario in &scenarios {
                // What is asked for by name runs once at least: that is how a soak is replayed.
                let asked = first && !job.only.is_empty();
                if *stop.borrow() || !asked && end.is_some_and(|end| Instant::now() > end) {
                    break;
                }
                display.begins(scenario.name);
                let mut outcome = one(job, scenario, seed, stop);
                display.outcome(&outcome);
                pages.add(&mut outcome);
                let passed = outcome.verdict == Verdict::Pass;
                discard(job, &mut outcome);
                summary.add(outcome);
                // A run that is killed is to leave what it found.
                let written =
                    summary.write(&job.out).and_then(|()| if passed { Ok(()) } else { pages.write(&job.out) });
                written.unwrap_or_else(|error| display.line(&told(error)));
            }
            first = false;
            if *stop.borrow() {
                break;
            }
        }
        summary.simulated = simulated.join().unwrap_or_else(|_| Simulated::panicked());
    });
    summary.seconds = began.elapsed().as_secs_f64();
    display.finish();
    summary.write(&job.out).and_then(|()| pages.write(&job.out)).map_err(told)?;
    Ok(summary)
}

fn one(job: &Job, scenario: &'static Scenario, seed: u64, stop: &watch::Receiver<bool>) -> Outcome {
    let profile = job.profile;
    let plan = Plan {
        scenario,
        seed,
        hold: profile.hold(),
        rounds: profile.rounds(),
        binary: job.binary.clone(),
        out: job.out.clone(),
        replay: format!(
            "dledger-faults run --profile {profile} --seed {seed} --only {} --minutes 0 --seeds 0",
            scenario.name
        ),
    };
    scenario::run(&plan, stop)
}

/// A history that nobody needs takes room: a soak has hundreds.
fn discard(job: &Job, outcome: &mut Outcome) {
    let kept = job.keep || matches!(outcome.verdict, Verdict::Fail | Verdict::Invalid);
    if !kept && let Some(history) = outcome.history.take() {
        // One that stays does no other harm.
        let _ = fs::remove_file(history);
    }
}
