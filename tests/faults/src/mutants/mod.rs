//! The mutant gate: bugs are planted one by one, and the suite must find each.
//!
//! A bug is a patch, `tests/faults/mutants/NAME.patch`: its head says what the bug does, the law that it breaks, and
//! the tests that must catch it. [`gate`] copies the source, applies one patch, builds and runs its tests, takes the
//! patch back, and goes on to the next. Caught is a bug whose test failed in an assertion of the test: a program that
//! merely dies, or does not end, has caught nothing. The control is the same tests without a patch: they must pass.
//!
//! To write one: make the bug, `git diff -U1 >> tests/faults/mutants/NAME.patch`, take the bug back, write the head. A
//! patch with little context survives changes around it; one that no longer applies fails `every_patch_applies`.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`gate`] |
//! | `patch` | a mutant: its head and what it changes |
//! | `detector` | the test that must catch it |
//! | `scratch` | the copy in which patches are applied |
//! | `program` | builds what a detector runs |
//! | `bounded` | a process with a time limit |
//! | `trial` | one run of one test, and how it ended |
//! | `output` | finds the law in what a test printed |
//! | `verdict` | what came of all, as a table |
//! | `tests` | that every patch applies and names tests that exist |

mod bounded;
mod detector;
mod output;
mod patch;
mod program;
mod scratch;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod trial;
mod verdict;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use detector::{Detector, Layer};
pub use output::Law;
pub use patch::Patch;
pub use trial::{End, Trial};
pub use verdict::Verdict;

use scratch::{Scratch, root};

/// What is run: the arguments of `dledger-faults mutants`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Only the mutants of these names, and their control.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// All detectors of a mutant, not only those up to the first that catches it.
    #[arg(long)]
    pub all: bool,
    /// No control: the tests are known to pass.
    #[arg(long)]
    pub no_control: bool,
    /// Begins no mutant after this number of minutes.
    #[arg(long, default_value_t = 240)]
    pub minutes: u64,
    /// Where to copy and build; `target/mutants` of the workspace if nothing is said.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Runs the gate. `told` hears of each trial as it ends.
///
/// # Errors
/// If no mutant has the name, or the source cannot be copied or patched; why.
pub fn gate(options: &Options, mut told: impl FnMut(&Trial)) -> Result<Verdict, String> {
    let began = Instant::now();
    let patches = chosen(&options.only)?;
    let dir = options.dir.clone().unwrap_or_else(|| root().join("target/mutants"));
    let scratch = Scratch::copy(&dir, &patches)?;
    let mut trial = |mutant: Option<&Patch>, detector: &Detector| {
        let trial = trial::run(&scratch, mutant.map(|patch| patch.name.as_str()), detector)?;
        told(&trial);
        Ok::<_, String>(trial)
    };
    let mut verdict = Verdict::default();
    if !options.no_control {
        let detectors: BTreeSet<_> = patches.iter().flat_map(|patch| &patch.detectors).collect();
        verdict.control = detectors.into_iter().map(|detector| trial(None, detector)).collect::<Result<_, _>>()?;
    }
    for patch in patches {
        let mut trials = Vec::new();
        if began.elapsed() < Duration::from_secs(60 * options.minutes) {
            scratch.apply(&patch)?;
            for detector in &patch.detectors {
                trials.push(trial(Some(&patch), detector)?);
                if matches!(trials.last(), Some(Trial { end: End::Law(_), .. })) && !options.all {
                    break;
                }
            }
            scratch.revert(&patch)?;
        }
        verdict.mutants.push((patch, trials));
    }
    verdict.took = began.elapsed();
    Ok(verdict)
}

/// The mutants called `names`; all if there are none.
fn chosen(names: &[String]) -> Result<Vec<Patch>, String> {
    let all = Patch::all()?;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|patch| patch.name == **name)) {
        let known: Vec<_> = all.iter().map(|patch| patch.name.as_str()).collect();
        return Err(format!("{name}: no mutant is called that; one of {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|patch| names.is_empty() || names.contains(&patch.name)).collect())
}
