//! What keeps retention from going by the age of records.

use parking_lot::Mutex;

/// The retention task sets the problems; a status shows them.
#[derive(Default)]
pub(crate) struct RetentionProblems(Mutex<Problems>);

#[derive(Default)]
struct Problems {
    clock: Option<String>,
    roll: Option<String>,
}

impl RetentionProblems {
    /// Sets what is wrong with the clock or the timestamps; `None`: nothing is.
    pub(crate) fn set_clock(&self, problem: Option<String>) {
        self.0.lock().clock = problem;
    }

    /// Sets why the master cannot end a segment whose records have their age; `None`: it can. Returns whether the
    /// problem is new: there was none before.
    pub(crate) fn set_roll(&self, problem: Option<String>) -> bool {
        let mut problems = self.0.lock();
        let new = problems.roll.is_none() && problem.is_some();
        problems.roll = problem;
        new
    }

    /// The problem to show first.
    pub(crate) fn first(&self) -> Option<String> {
        let problems = self.0.lock();
        problems.clock.as_ref().or(problems.roll.as_ref()).cloned()
    }
}
