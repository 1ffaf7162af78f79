//! One run of one test, with a mutant or without, bounded in time.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::output::{Law, Output};
use super::programs::{Programs, root};
use super::table::{Detector, Runs};

/// One run, and how it ended.
#[derive(Debug, Clone)]
pub struct Trial {
    /// `None`: the control.
    pub mutant: Option<&'static str>,
    /// What ran.
    pub detector: &'static Detector,
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub took: Duration,
    /// The seed that failed, if seeds ran and one did.
    pub seed: Option<u64>,
    /// Whether the bug was come across at all.
    pub reached: bool,
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
}

/// Runs `detector` with `mutant` planted.
///
/// # Errors
/// If it cannot be run; why.
pub(super) fn run(
    programs: &Programs,
    mutant: Option<&'static str>,
    detector: &'static Detector,
) -> Result<Trial, String> {
    let cannot = |error: std::io::Error| format!("{detector}: {error}");
    let (program, arguments, dir) = command(programs, detector)?;
    let mut said = tempfile::tempfile().map_err(cannot)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command.stdout(said.try_clone().map_err(cannot)?).stderr(said.try_clone().map_err(cannot)?);
    // A group of its own: what it leaves behind goes with it.
    command.process_group(0).env_remove("CARGO").env_remove("DLEDGER_SEED").env_remove("DLEDGER_CRASH_POINTS");
    command.env("DLEDGER_MUTANT", mutant.unwrap_or_default()).env("RUST_BACKTRACE", "0");
    command.env("DLEDGER_BIN", programs.command("dledger")?);
    match detector.seeds {
        // The control shows that the tests pass, not that they pass for long.
        Some(seeds) if mutant.is_some() => command.env("DLEDGER_SEEDS", seeds.to_string()),
        _ => command.env_remove("DLEDGER_SEEDS"),
    };
    let began = Instant::now();
    let child = command.spawn().map_err(cannot)?;
    let success = wait(child, detector.limit).map_err(cannot)?;
    let took = began.elapsed();
    let text = text_of(&mut said).map_err(cannot)?;
    let output = Output(&text);
    let end = match (success, output.law()) {
        (None, _) => End::Hung,
        (Some(true), _) if output.ran_nothing() => End::Died("no test is called that".into()),
        (Some(true), _) => End::Passed,
        (Some(false), Some(law)) => End::Law(law),
        (Some(false), None) => End::Died(output.panic().unwrap_or_else(|| last_line(&text))),
    };
    // A scenario of processes has one, and it is no seed among many.
    let seeds = matches!(detector.runs, Runs::Test { .. });
    let seed = output.seed().filter(|_| seeds && matches!(end, End::Law(_)));
    Ok(Trial { mutant, detector, end, took, seed, reached: mutant.is_some_and(|name| output.reached(name)) })
}

fn command(programs: &Programs, detector: &Detector) -> Result<(PathBuf, Vec<String>, PathBuf), String> {
    let owned = |arguments: &[&str]| arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    match detector.runs {
        Runs::Test { package, target, filter } => {
            let dir = if package == "dledger" { root() } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) };
            let arguments = ["--nocapture", "--test-threads=1", filter];
            Ok((absolute(programs.test(package, target)?)?, owned(&arguments), dir))
        }
        Runs::Faults(arguments) => Ok((absolute(programs.command("dledger-faults")?)?, owned(arguments), root())),
    }
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether it succeeded; `None`: it had not ended in time, and was killed with all that it had started.
fn wait(mut child: Child, limit: Duration) -> std::io::Result<Option<bool>> {
    let group = format!("-{}", child.id());
    let (ended, end) = mpsc::channel();
    // It ends with the child.
    thread::spawn(move || ended.send(child.wait()).unwrap_or_default());
    let status = end.recv_timeout(limit).ok();
    // Also after a good end: a node that a test has started may outlive it.
    let kill = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    if status.is_none() {
        kill?;
        end.recv().map_err(std::io::Error::other)??;
    }
    status.transpose().map(|status| status.map(|status| status.success()))
}

fn text_of(said: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing was said").to_owned()
}
