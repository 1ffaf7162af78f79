//! What is done to a cluster while clients are at work, and what must be so afterwards.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`Scenario`], [`Trouble`] |
//! | `table` | [`all`]: every scenario |
//! | `stage` | [`Stage`]: a cluster under load, and the faults on it with their evidence |
//! | `processes`, `network`, `disks`, `damage`, `members`, `mixed` | what is done |
//! | `run` | [`run`]: one scenario from the machine to the verdict |
//! | `outcome` | [`Outcome`]: what came of it |

mod damage;
mod disks;
mod members;
mod mixed;
mod network;
mod outcome;
mod processes;
mod run;
mod stage;
mod table;

use futures::future::LocalBoxFuture;

pub use outcome::{Outcome, Verdict};
pub use run::{Plan, run};
pub use stage::Stage;
pub use table::{all, find};

use crate::machine;
use crate::workload::Load;

/// What is done to a cluster.
pub type Act = for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, Result<(), Trouble>>;

/// What is done to a cluster while clients are at work.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is done, in a line.
    pub about: &'static str,
    /// How many nodes the cluster is formed of.
    pub voters: u64,
    /// How many more there are to join it.
    pub spare: u64,
    /// Options of `dledger serve`.
    pub options: &'static [&'static str],
    /// Whether nodes may remove old records by themselves.
    pub retention: bool,
    /// The clients.
    pub load: fn() -> Load,
    /// What is done.
    pub act: Act,
}

/// Why a scenario could not be carried through.
#[derive(Debug)]
pub enum Trouble {
    /// This machine cannot do it.
    NotHere(String),
    /// The test could not do what it claims to do.
    Test(String),
    /// What was promised was not kept.
    Violation(String),
}

impl From<machine::Error> for Trouble {
    fn from(error: machine::Error) -> Self {
        if error.is_not_here() { Self::NotHere(error.to_string()) } else { Self::Test(error.to_string()) }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Test(error.to_string())
    }
}
