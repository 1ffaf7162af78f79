//! Builds in the copy what a detector runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::bounded::{self, Ended};
use super::detector::{Detector, Runs};
use super::scratch::Scratch;

/// How long a build may take: minutes on a busy machine, and the first one builds all dependencies.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// What is run for a detector.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Where Cargo runs the tests of the package.
    pub(super) dir: PathBuf,
}

impl Program {
    /// Builds it from the copy as it is now.
    ///
    /// # Errors
    /// What Cargo or the compiler says.
    pub(super) fn build(scratch: &Scratch, detector: &Detector) -> Result<Self, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        match &detector.runs {
            Runs::Test { package, target: None, .. } => cargo.args(["test", "--no-run", "-p", package, "--lib"]),
            Runs::Test { package, target: Some(target), .. } => {
                // The commands of the package are built along with an integration test.
                cargo.args(["test", "--no-run", "-p", package, "--test", target])
            }
            Runs::Faults(_) => cargo.args(["build", "-p", "dledger-faults", "--bins"]),
        };
        cargo.args(["--locked", "--message-format=json-render-diagnostics", "--target-dir"]).arg(scratch.target());
        cargo.current_dir(scratch.tree()).stdin(Stdio::null());
        // One file changes from build to build; nobody debugs what is built.
        cargo.env("CARGO_INCREMENTAL", "1");
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        let ran = bounded::run(&mut cargo, BUILD_LIMIT).map_err(|error| format!("cargo cannot be run: {error}"))?;
        if ran.ended != Ended::Success {
            let error = ran.text.lines().find(|line| line.starts_with("error"));
            return Err(error.map_or_else(|| format!("not built within {BUILD_LIMIT:?}"), str::to_owned));
        }
        let built = ran.text.lines().find_map(|line| executable(line, &detector.runs));
        let Built { path, package } = built.ok_or_else(|| format!("cargo built nothing that runs {detector}"))?;
        Ok(match &detector.runs {
            Runs::Test { filter, .. } => {
                let arguments = ["--nocapture", "--test-threads=1", filter].map(str::to_owned).to_vec();
                Self { path, arguments, dir: package }
            }
            Runs::Faults(arguments) => {
                let out = format!("--out={}", scratch.results().display());
                let arguments = arguments.iter().cloned().chain([out]).collect();
                Self { path, arguments, dir: scratch.tree() }
            }
        })
    }
}

/// An executable, and where its package is.
struct Built {
    path: PathBuf,
    package: PathBuf,
}

/// The executable that `line` of Cargo's messages names, if it is the one to run.
fn executable(line: &str, runs: &Runs) -> Option<Built> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message["executable"].as_str()?);
    let (name, is_test) = (message["target"]["name"].as_str()?, message["profile"]["test"].as_bool()?);
    let wanted = match runs {
        Runs::Test { target: None, .. } => is_test,
        Runs::Test { target: Some(target), .. } => is_test && name == target,
        Runs::Faults(_) => name == "dledger-faults",
    };
    let package = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    wanted.then_some(Built { path, package })
}
