//! The test that must catch a mutant, as the command that runs it.

use std::fmt;

/// Where a test looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// One file's own tests.
    Unit,
    /// Simulated clusters.
    A,
    /// The real gRPC.
    B,
    /// Real processes.
    C,
    /// Crash images of a log.
    D,
}

impl Layer {
    /// All of them, with their names in a patch.
    pub const ALL: &[(Self, &str)] =
        &[(Self::Unit, "unit"), (Self::A, "A"), (Self::B, "B"), (Self::C, "C"), (Self::D, "D")];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit tests",
            Self::A => "A, simulation",
            Self::B => "B, real gRPC",
            Self::C => "C, real processes",
            Self::D => "D, crash images",
        })
    }
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runs {
    /// The tests of a package whose names contain `filter`.
    Test {
        /// The package.
        package: String,
        /// One of its integration tests; `None`: the tests of its library.
        target: Option<String>,
        /// What the names contain.
        filter: String,
    },
    /// `dledger-faults` with these arguments; it fails where the judge finds a law broken.
    Faults(Vec<String>),
}

/// A test that must catch a mutant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detector {
    /// Where it looks.
    pub layer: Layer,
    /// What is run.
    pub runs: Runs,
    /// Seeds that run at most, where there are seeds; `None`: as many as in `cargo test`.
    pub seeds: Option<u64>,
}

impl Detector {
    /// Reads `LAYER: [DLEDGER_SEEDS=N] cargo test -p PACKAGE (--lib | --test NAME) FILTER`, or
    /// `LAYER: cargo run -p dledger-faults -- ARGUMENTS`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (layer, command) = line.split_once(": ")?;
        let (layer, _) = *Layer::ALL.iter().find(|(_, name)| *name == layer)?;
        let mut words: Vec<_> = command.split_whitespace().collect();
        let seeds = match words.first()?.strip_prefix("DLEDGER_SEEDS=") {
            Some(seeds) => Some(seeds.parse().ok()?),
            None => None,
        };
        words.drain(..usize::from(seeds.is_some()));
        let owned = |word: &str| word.to_owned();
        let runs = match words[..] {
            ["cargo", "run", "-p", "dledger-faults", "--", ref arguments @ ..] => {
                Runs::Faults(arguments.iter().copied().map(owned).collect())
            }
            ["cargo", "test", "-p", package, "--lib", filter] => {
                Runs::Test { package: owned(package), target: None, filter: owned(filter) }
            }
            ["cargo", "test", "-p", package, "--test", target, filter] => {
                Runs::Test { package: owned(package), target: Some(owned(target)), filter: owned(filter) }
            }
            _ => return None,
        };
        Some(Self { layer, runs, seeds })
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.runs {
            Runs::Test { package, filter, .. } => write!(f, "{package} {filter}"),
            Runs::Faults(arguments) => write!(f, "dledger-faults {}", arguments.join(" ")),
        }
    }
}
