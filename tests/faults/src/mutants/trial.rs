//! One run of one test, with a mutant or without.

use std::process::Command;
use std::time::{Duration, Instant};

use super::bounded::{self, Ended};
use super::detector::{Detector, Runs};
use super::output::{Law, Output};
use super::program::Program;
use super::scratch::Scratch;

/// How long a test may take: some take minutes where much else runs.
const TEST_LIMIT: Duration = Duration::from_secs(600);

/// One run, and how it ended.
#[derive(Debug, Clone)]
pub struct Trial {
    /// `None`: the control.
    pub mutant: Option<String>,
    /// What ran.
    pub detector: Detector,
    /// How it ended.
    pub end: End,
    /// How long the build took.
    pub building: Duration,
    /// How long the test took.
    pub testing: Duration,
    /// The seed that failed, if seeds ran and one did.
    pub seed: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All tests passed.
    Passed,
    /// A test found that a law was broken.
    Law(Law),
    /// It failed, and no test says why: the program died by itself. What it said.
    Died(String),
    /// It did not end in its time.
    Hung,
    /// It was not built: what the compiler says.
    NotBuilt(String),
}

/// Builds and runs `detector` in the copy, which has the bug of `mutant`.
///
/// # Errors
/// If it cannot be run; why.
pub(super) fn run(scratch: &Scratch, mutant: Option<&str>, detector: &Detector) -> Result<Trial, String> {
    let began = Instant::now();
    let built = Program::build(scratch, detector);
    let building = began.elapsed();
    let trial = |end, testing, seed| {
        let (mutant, detector) = (mutant.map(str::to_owned), detector.clone());
        Ok(Trial { mutant, detector, end, building, testing, seed })
    };
    let Program { path, arguments, dir } = match built {
        Ok(program) => program,
        Err(why) => return trial(End::NotBuilt(why), Duration::ZERO, None),
    };
    let mut command = Command::new(path);
    command.args(arguments).current_dir(dir).env("RUST_BACKTRACE", "0");
    // Without them the command under test is the one that was built beside the suite.
    command.env_remove("CARGO").env_remove("DLEDGER_BIN");
    command.env_remove("DLEDGER_SEED").env_remove("DLEDGER_CRASH_POINTS");
    match detector.seeds {
        // The control shows that the tests pass, not that they pass for long.
        Some(seeds) if mutant.is_some() => command.env("DLEDGER_SEEDS", seeds.to_string()),
        _ => command.env_remove("DLEDGER_SEEDS"),
    };
    let began = Instant::now();
    let ran = bounded::run(&mut command, TEST_LIMIT).map_err(|error| format!("{detector}: {error}"))?;
    let testing = began.elapsed();
    let output = Output::new(&ran.text, scratch.tree());
    let end = match (ran.ended, output.law()) {
        (Ended::Killed, _) => End::Hung,
        (Ended::Success, _) if output.ran_nothing() => End::Died("no test is called that".into()),
        (Ended::Success, _) => End::Passed,
        (Ended::Failure, Some(law)) => End::Law(law),
        (Ended::Failure, None) => End::Died(output.panic().unwrap_or_else(|| last_line(&ran.text))),
    };
    // A scenario of processes has one, and it is no seed among many.
    let seeds = matches!(detector.runs, Runs::Test { .. });
    let seed = output.seed().filter(|_| seeds && matches!(end, End::Law(_)));
    trial(end, testing, seed)
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing was said").to_owned()
}
