//! Builds the tests with the feature `mutants`, and finds what was built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What was built.
pub(super) struct Programs {
    /// Test programs by package and target.
    tests: BTreeMap<(String, String), PathBuf>,
    /// Commands by name.
    commands: BTreeMap<String, PathBuf>,
}

/// Packages, and what of each is built.
const PACKAGES: &[(&str, &[&str])] = &[
    // An integration test has the commands of its package built, too.
    ("dledger", &["--lib", "--test", "failover"]),
    ("dledger-faults", &["--test", "sim", "--test", "power", "--test", "wire"]),
];

impl Programs {
    /// Builds all that a detector may run. In a directory of its own: what is built with the feature must not be taken
    /// for what is to be used.
    pub(super) fn build(target_dir: Option<&Path>) -> Result<Self, String> {
        let mut this = Self { tests: BTreeMap::new(), commands: BTreeMap::new() };
        let own = root().join("target/mutants");
        let target_dir = target_dir.unwrap_or(&own);
        for (package, targets) in PACKAGES {
            this.build_package(package, targets, target_dir)?;
        }
        Ok(this)
    }

    fn build_package(&mut self, package: &str, targets: &[&str], target_dir: &Path) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["test", "--no-run", "--quiet", "--message-format=json", "--features", "mutants", "-p", package]);
        build.args(targets).arg("--target-dir").arg(target_dir).current_dir(root());
        let built = build.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo cannot be run: {error}"))?;
        if !built.status.success() {
            return Err(format!("cargo test --no-run -p {package} ended with {}", built.status));
        }
        for line in String::from_utf8_lossy(&built.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            let Some(program) = message["executable"].as_str().map(PathBuf::from) else { continue };
            let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
            let command = message["target"]["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into()));
            if !command {
                self.tests.insert((package.to_owned(), name), program);
            } else {
                self.commands.insert(name, program);
            }
        }
        Ok(())
    }

    /// The program of the tests of `target`.
    pub(super) fn test(&self, package: &str, target: &str) -> Result<&Path, String> {
        let found = self.tests.get(&(package.to_owned(), target.to_owned()));
        found.map(PathBuf::as_path).ok_or_else(|| format!("{package} has no test {target}: list it in programs.rs"))
    }

    /// The command `name`.
    pub(super) fn command(&self, name: &str) -> Result<&Path, String> {
        self.commands.get(name).map(PathBuf::as_path).ok_or_else(|| format!("there is no command {name}"))
    }
}

/// The workspace.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
