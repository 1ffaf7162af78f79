//! A copy of the source, in which a patch is applied and taken back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::patch::Patch;

/// The copy. It goes when this is dropped; what was built from it stays for the next gate.
pub(super) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Copies into `dir` what git tracks or would add: all that a fresh clone of the present state would have.
    ///
    /// A copy keeps the time of its original, so that Cargo builds anew only what has changed since the last gate. The
    /// files of `patches` get the present time instead: a gate that was killed may have built them with a bug.
    pub(super) fn copy(dir: &Path, patches: &[Patch]) -> Result<Self, String> {
        let root = root();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .map_err(|error| format!("git cannot be run: {error}"))?;
        if !listed.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim()));
        }
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        // Absolute, since what is built runs in other directories.
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        let this = Self { dir };
        this.clear();
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0').map(Path::new) {
            let patched = patches.iter().any(|patch| patch.files.iter().any(|file| file == path));
            let (from, to) = (root.join(path), this.tree().join(path));
            // A file that was removed and is still tracked is not in the present state.
            if from.is_file() {
                copy_file(&from, &to, !patched).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(this)
    }

    /// The copy of the workspace.
    pub(super) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Where Cargo builds it.
    pub(super) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// Where runs of `dledger-faults` put their results.
    pub(super) fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    pub(super) fn apply(&self, patch: &Patch) -> Result<(), String> {
        git_apply(&self.tree(), &patch.path, &[])
    }

    pub(super) fn revert(&self, patch: &Patch) -> Result<(), String> {
        git_apply(&self.tree(), &patch.path, &["--reverse"])
    }

    fn clear(&self) {
        for dir in [self.tree(), self.results()] {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}

fn copy_file(from: &Path, to: &Path, keep_time: bool) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to)?;
    if keep_time {
        File::options().write(true).open(to)?.set_modified(fs::metadata(from)?.modified()?)?;
    }
    Ok(())
}

/// Runs `git apply` in `tree`, on a patch of that tree: the original may change while a gate runs.
pub(super) fn git_apply(tree: &Path, patch: &Path, options: &[&str]) -> Result<(), String> {
    let tree = tree.canonicalize().map_err(|error| format!("{}: {error}", tree.display()))?;
    let mut git = Command::new("git");
    git.arg("apply").args(options).arg(patch).current_dir(&tree);
    // In a directory within a repository, git skips what lies outside of that directory and calls it success.
    git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(&tree));
    let ran = git.output().map_err(|error| format!("git cannot be run: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{} does not apply: {}", patch.display(), String::from_utf8_lossy(&ran.stderr).trim()))
}

/// The workspace.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
