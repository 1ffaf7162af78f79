//! Which `dledger` is tested.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The same source as the command `dledger`, built together with this suite.
pub const UNDER_TEST: &str = "dledger-under-test";

/// `given`, else `DLEDGER_BIN`, else the one built with this suite, else a `dledger` beside this executable.
///
/// # Errors
/// There is none; what to do.
pub fn find(given: Option<&Path>) -> Result<PathBuf, String> {
    let named = given.map(Path::to_owned).or_else(|| env::var_os("DLEDGER_BIN").map(PathBuf::from));
    if let Some(named) = named {
        return if named.is_file() {
            Ok(std::path::absolute(&named).unwrap_or(named))
        } else {
            Err(format!("{} is no file: give the path of a dledger command", named.display()))
        };
    }
    let own = env::current_exe().map_err(|error| format!("where this executable is cannot be told: {error}"))?;
    // Test executables lie in a directory below.
    let dir = own.parent().filter(|dir| dir.ends_with("deps")).and_then(Path::parent).or(own.parent());
    let dir = dir.ok_or("this executable lies in no directory")?;
    if env::var_os("CARGO").is_some() {
        build(dir)?;
    }
    let beside = [UNDER_TEST, "dledger"].map(|name| dir.join(name));
    beside.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "no {UNDER_TEST} and no dledger in {}: run `cargo build -p dledger-faults`, or give --dledger PATH",
            dir.display()
        )
    })
}

/// `cargo run` builds no other binary than the one it runs.
fn build(dir: &Path) -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "dledger-faults", "--bin", UNDER_TEST]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    if dir.ends_with("release") {
        command.arg("--release");
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo build of {UNDER_TEST} ended with {status}")),
        Err(error) => Err(format!("cargo cannot be run ({error}): give --dledger PATH")),
    }
}
