//! A mutant: a patch of the source that breaks one law.

use std::fs;
use std::path::{Path, PathBuf};

use super::detector::Detector;
use super::scratch::root;

/// Where the patches are in the workspace.
const DIR: &str = "tests/faults/mutants";

/// A file of `tests/faults/mutants`: a bug, and what must catch it.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The name of the mutant.
    pub name: String,
    /// What the bug does.
    pub bug: String,
    /// What the source promises without it.
    pub law: String,
    /// What must catch it. The first that does is enough.
    pub detectors: Vec<Detector>,
    /// The files that the bug is in.
    pub files: Vec<PathBuf>,
    /// Where the patch is in the workspace, or in a copy of it.
    pub path: PathBuf,
}

impl Patch {
    /// All mutants, by name.
    ///
    /// # Errors
    /// If one cannot be read; which, and why.
    pub fn all() -> Result<Vec<Self>, String> {
        let dir = root().join(DIR);
        let cannot = |error: std::io::Error| format!("{}: {error}", dir.display());
        let entries = fs::read_dir(&dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(cannot)?;
        let paths = entries.iter().map(fs::DirEntry::path);
        let mut patches: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|e| e == "patch"))
            .map(Self::read)
            .collect::<Result<_, _>>()?;
        patches.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(patches)
    }

    fn read(path: PathBuf) -> Result<Self, String> {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text).map_err(|missing| format!("{}: {missing}", path.display()))
    }

    /// The head is what the bug does, an empty line, and the lines `Law:`, `Why:` and `Caught by`; the patch follows.
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let (head, diff) = text.split_once("\ndiff --git ").ok_or("no `diff --git` follows the head")?;
        let (bug, fields) = head.split_once("\n\n").ok_or("the head must say what the bug does, and then its law")?;
        let law = fields.lines().find_map(|line| line.strip_prefix("Law: ")).ok_or("no line begins with `Law: `")?;
        if !fields.lines().any(|line| line.starts_with("Why: ")) {
            return Err("no line begins with `Why: `".into());
        }
        let caught = fields.lines().filter_map(|line| line.strip_prefix("Caught by "));
        let detector = |line| Detector::parse(line).ok_or(format!("`Caught by {line}` is no such command"));
        let detectors: Vec<_> = caught.map(detector).collect::<Result<_, _>>()?;
        if detectors.is_empty() {
            return Err("no line begins with `Caught by `".into());
        }
        let files = diff.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(PathBuf::from).collect();
        let path = Path::new(DIR).join(format!("{name}.patch"));
        Ok(Self { name: name.to_owned(), bug: bug.replace('\n', " "), law: law.to_owned(), detectors, files, path })
    }
}

#[cfg(test)]
mod tests {
    use super::super::detector::{Layer, Runs};
    use super::*;

    const TEXT: &str = "A sync does nothing.\n\nLaw: What is acknowledged survives.\nWhy: It is not on the disk.\n\
                        Caught by A: DLEDGER_SEEDS=4 cargo test -p dledger-faults --test sim records_survive\n\
                        Caught by C: cargo run -p dledger-faults -- run --only=reset\n\n\
                        diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1 +1 @@\n-a\n+b\n";

    #[test]
    fn the_head_says_what_the_bug_does_the_law_and_the_tests_that_must_catch_it() {
        let patch = Patch::parse("SyncSkipped", TEXT).unwrap();
        assert_eq!((patch.name.as_str(), patch.bug.as_str()), ("SyncSkipped", "A sync does nothing."));
        assert_eq!(patch.law, "What is acknowledged survives.");
        assert_eq!(patch.files, [PathBuf::from("src/a.rs")]);
        let test = Runs::Test {
            package: "dledger-faults".into(),
            target: Some("sim".into()),
            filter: "records_survive".into(),
        };
        let faults = Runs::Faults(vec!["run".into(), "--only=reset".into()]);
        let [a, c] = &patch.detectors[..] else { panic!("{:?}", patch.detectors) };
        assert_eq!(*a, Detector { layer: Layer::A, runs: test, seeds: Some(4) });
        assert_eq!(*c, Detector { layer: Layer::C, runs: faults, seeds: None });
    }

    #[test]
    fn a_head_that_lacks_something_is_refused_and_says_what() {
        for gone in ["Law: ", "Why: ", "Caught by ", "diff --git ", "cargo "] {
            let error = Patch::parse("x", &TEXT.replace(gone, "")).unwrap_err();
            assert!(error.contains(gone.trim()) || gone == "cargo ", "{gone}: {error}");
        }
    }
}
