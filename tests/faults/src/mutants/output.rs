//! Finds in what a test printed which law was broken, and after how many seeds.

use std::fs;
use std::path::{Path, PathBuf};

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Law {
    /// The test.
    pub test: String,
    /// What it found, in a line.
    pub found: String,
}

/// What a run printed.
pub(super) struct Output<'t> {
    text: &'t str,
    /// The source of the tests.
    tree: PathBuf,
}

/// One panic of it.
struct Panic<'t> {
    place: &'t str,
    message: &'t str,
}

impl Panic<'_> {
    /// Whether it is a test's assertion, and not one of the program that is tested, whose source is in `tree`.
    fn is_law(&self, tree: &Path) -> bool {
        let mut parts = self.place.split(':');
        let (file, line) = (parts.next().unwrap_or_default(), parts.next().and_then(|line| line.parse().ok()));
        // A line that does not end passes on what another one has said, which comes next.
        if file.starts_with('/') || !self.message.contains('\n') {
            return false;
        }
        ["tests/", "tests.rs", "tests/sim/"].iter().any(|part| file.contains(part))
            || is_in_tests(&tree.join(file), line)
    }
}

/// Whether the line is one of the tests at the end of a source file.
fn is_in_tests(file: &Path, line: Option<usize>) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let begin = text.lines().position(|line| line == "mod tests {");
    begin.zip(line).is_some_and(|(begin, line)| line > begin)
}

impl<'t> Output<'t> {
    pub(super) fn new(text: &'t str, tree: PathBuf) -> Self {
        Self { text, tree }
    }

    /// Whether the tests are called something else.
    pub(super) fn ran_nothing(&self) -> bool {
        self.text.lines().any(|line| line == "running 0 tests")
    }

    fn panics(&self) -> impl Iterator<Item = Panic<'t>> {
        self.text.split("panicked at ").skip(1).filter_map(|after| {
            let (place, message) = after.split_once(":\n")?;
            Some(Panic { place, message })
        })
    }

    /// The law that was broken; `None`: no test's assertion failed.
    pub(super) fn law(&self) -> Option<Law> {
        self.asserted().or_else(|| self.judged())
    }

    /// The law that the judge found broken in a scenario of processes. What else fails one, like a process that ended,
    /// names no law.
    fn judged(&self) -> Option<Law> {
        let mut lines = self.text.lines();
        let failed = lines.find(|line| line.split_whitespace().nth(1) == Some("FAIL"))?;
        let named = |line: &&str| {
            let law = line.strip_prefix("    ").and_then(|line| line.split_once(": "));
            law.is_some_and(|(law, _)| {
                law.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && law != "again"
            })
        };
        let found = lines.take_while(|line| line.starts_with("    ")).find(named)?.trim();
        Some(Law { test: failed.split_whitespace().next()?.to_owned(), found: found.to_owned() })
    }

    fn asserted(&self) -> Option<Law> {
        let panic = self.panics().find(|panic| panic.is_law(&self.tree))?;
        let test = self.text.lines().find_map(|line| {
            let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            name.rsplit("::").next()
        });
        let named = self.text.lines().find_map(|line| line.strip_prefix("    ")?.rsplit("::").next());
        let lines = panic.message.lines().take_while(|line| !line.starts_with("note: ") && !line.is_empty());
        let found: Vec<_> = lines.map(str::trim).take(4).collect();
        Some(Law { test: test.or(named).unwrap_or("?").to_owned(), found: found.join(" ") })
    }

    /// The first panic of any kind.
    pub(super) fn panic(&self) -> Option<String> {
        let panic = self.panics().next()?;
        Some(format!("{}: {}", panic.place, panic.message.lines().next().unwrap_or_default()))
    }

    /// The seed that failed.
    pub(super) fn seed(&self) -> Option<u64> {
        let mut replays = self.text.split("DLEDGER_SEED=").skip(1);
        let named = replays.find_map(number);
        named.or_else(|| self.text.split("seed ").skip(1).find_map(number))
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::scratch::root;
    use super::*;

    fn output(text: &str) -> Output<'_> {
        Output::new(text, root())
    }

    #[test]
    fn the_law_is_the_tests_own_assertion_and_not_the_first_panic() {
        let output = output(
            "thread 'a' panicked at /root/.cargo/registry/src/x/openraft/src/engine.rs:3:5:\nassertion failed\n\
             thread 'b' (7) panicked at tests/faults/tests/sim.rs:30:67:\n\
             power-loss: seed 3 failed: panicked at tests/faults/src/sim/history.rs:70:13:\nthe term of node 1 fell\n\
             run it again: DLEDGER_SEED=3 cargo test\nnote: run with\n\
             test acknowledged_records ... FAILED\n",
        );
        let law = output.law().unwrap();
        assert_eq!(law.test, "acknowledged_records");
        assert_eq!(law.found, "the term of node 1 fell run it again: DLEDGER_SEED=3 cargo test");
        assert_eq!(output.seed(), Some(3));
        assert!(!output.ran_nothing() && self::output("\nrunning 0 tests\n").ran_nothing());
    }

    #[test]
    fn the_law_of_a_scenario_is_the_judges_and_not_that_a_process_ended() {
        let judged = "power-all              FAIL       78 ops\n    n1 ended: signal 6\n    \
                      read: index 7 is gone\n    again: dledger-faults run\n";
        let law = output(judged).law().unwrap();
        assert_eq!((law.test.as_str(), law.found.as_str()), ("power-all", "read: index 7 is gone"));
        assert_eq!(output("power-all FAIL 7 ops\n    n1 ended: signal 6\n    again: it\nx: y\n").law(), None);
        assert_eq!(output("power-all pass 7 ops\n    read: index 7 is gone\n").law(), None);
    }

    #[test]
    fn a_program_that_dies_by_itself_has_broken_no_law() {
        let output = output("thread 'a' panicked at src/log/writer.rs:3:5:\nindex out of range\n");
        assert_eq!(output.law(), None);
        assert_eq!(output.panic().unwrap(), "src/log/writer.rs:3:5: index out of range");
    }
}
