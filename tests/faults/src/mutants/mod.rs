//! The mutant gate: bugs are planted one by one, and the suite must find each.
//!
//! The bugs are in `dledger` behind its feature `mutants` (`src/mutants.rs`), chosen by `DLEDGER_MUTANT`. [`gate`]
//! builds with the feature, in a target directory of its own, and runs for each bug what is to catch it. Caught is one
//! whose test failed in an assertion of the test: a program that merely dies, or does not end, has not caught anything.
//! The control is the same tests with no bug chosen: they must pass.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`gate`] |
//! | `table` | each mutant and what is to catch it |
//! | `programs` | builds the tests, and finds them |
//! | `trial` | one run of one test, bounded, and what it said |
//! | `output` | finds the law in what a test printed |
//! | `verdict` | what came of all, as a table |

mod output;
mod programs;
mod table;
mod trial;
mod verdict;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub use output::Law;
pub use table::{Case, Detector, Layer, TABLE};
pub use trial::{End, Trial};
pub use verdict::Verdict;

use programs::Programs;

/// What is run: the arguments of `dledger-faults mutants`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Only the mutant of this name, and its control.
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// All detectors of a mutant, not only those up to the first that catches it.
    #[arg(long)]
    pub all: bool,
    /// No control: the tests are known to pass.
    #[arg(long)]
    pub no_control: bool,
    /// Where to build; `target/mutants` of the workspace if nothing is said.
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
}

/// Runs the gate. `told` hears of each trial as it ends.
///
/// # Errors
/// If no mutant has the name, or the tests cannot be built; why.
pub fn gate(options: &Options, mut told: impl FnMut(&Trial)) -> Result<Verdict, String> {
    let wanted = |case: &&Case| options.only.as_deref().is_none_or(|name| name == case.mutant);
    let cases: Vec<&'static Case> = TABLE.iter().filter(wanted).collect();
    if cases.is_empty() {
        let all: Vec<_> = TABLE.iter().map(|case| case.mutant).collect();
        let name = options.only.as_deref().unwrap_or_default();
        return Err(format!("{name}: no mutant is called that; one of {}", all.join(", ")));
    }
    let programs = Programs::build(options.target_dir.as_deref())?;
    let mut verdict = Verdict::default();
    if !options.no_control {
        let detectors: BTreeSet<_> = cases.iter().flat_map(|case| case.detectors).collect();
        for detector in detectors {
            let trial = trial::run(&programs, None, detector)?;
            told(&trial);
            verdict.control.push(trial);
        }
    }
    for case in cases {
        let mut trials = Vec::new();
        for detector in case.detectors {
            let trial = trial::run(&programs, Some(case.mutant), detector)?;
            told(&trial);
            let caught = matches!(trial.end, End::Law(_));
            trials.push(trial);
            if caught && !options.all {
                break;
            }
        }
        verdict.mutants.push((case, trials));
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_a_mutant_to_catch() {
        for layer in Layer::ALL {
            let there = TABLE.iter().any(|case| case.detectors.iter().any(|detector| detector.layer == *layer));
            assert!(there, "{layer}: no mutant shows that it finds anything");
        }
    }

    #[test]
    fn a_name_that_there_is_not_is_an_error() {
        let error = gate(&Options { only: Some("Nobody".into()), ..Options::default() }, |_| {}).unwrap_err();
        assert!(error.contains("Nobody") && error.contains("AckBeforeSync"), "{error}");
    }
}
