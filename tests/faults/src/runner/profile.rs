//! What belongs to a run.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::scenario::{self, Scenario};

/// What belongs to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What `cargo test` runs: a minute.
    Ci,
    /// Every scenario, twice over: half an hour.
    Nightly,
    /// Every scenario with one seed after the other, until the minutes are over.
    Soak,
}

/// What `cargo test` runs.
const CI: [&str; 6] =
    ["kill-leader", "pause-leader", "isolate-leader", "power-majority", "bit-flips", "rolling-restart"];

impl Profile {
    /// Those of these names, else all of the profile.
    ///
    /// # Errors
    /// There is none of a name.
    pub fn scenarios(self, only: &[String]) -> Result<Vec<&'static Scenario>, String> {
        let find = |name: &str| scenario::find(name).ok_or_else(|| format!("no scenario is called {name}: see `list`"));
        match (only, self) {
            ([], Self::Ci) => CI.iter().map(|name| find(name)).collect(),
            ([], _) => Ok(scenario::all().iter().collect()),
            (only, _) => only.iter().map(|name| find(name)).collect(),
        }
    }

    /// Whether it goes on until its time is over.
    pub(super) fn loops(self) -> bool {
        self == Self::Soak
    }

    /// About how long a fault lasts.
    pub(super) fn hold(self) -> Duration {
        match self {
            Self::Ci => Duration::from_millis(600),
            Self::Nightly => Duration::from_secs(4),
            Self::Soak => Duration::from_secs(3),
        }
    }

    /// How often a scenario does what it does.
    pub(super) fn rounds(self) -> u32 {
        match self {
            Self::Ci => 1,
            Self::Nightly | Self::Soak => 2,
        }
    }

    /// Simulated seeds of each family.
    pub(super) fn seeds(self) -> u64 {
        match self {
            Self::Ci => 1,
            Self::Nightly => 200,
            Self::Soak => 1000,
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ci => "ci",
            Self::Nightly => "nightly",
            Self::Soak => "soak",
        })
    }
}
