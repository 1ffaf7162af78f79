//! How a call ends whose time is up: the one place where that is told.

use std::time::Duration;

use super::ClientError;
use super::tried::{List, NodeProblem, Remedies, TriedNode};
use crate::types::Span;

/// What a call was after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The master: for appends, and changes of the members.
    Master,
    /// Any node: for reads.
    Node,
}

/// The error of a call that was after `wanted` and whose time `waited` is up, without a refusal for good.
///
/// [`ClientError::Busy`] if all that answered have no room. Else [`ClientError::NoMaster`] or
/// [`ClientError::Unreachable`], by what was wanted and whether any node answered.
pub(crate) fn timed_out(wanted: Wanted, waited: Duration, tried: Vec<TriedNode>) -> ClientError {
    let mut answered = tried.iter().filter(|tried| tried.has_answered()).peekable();
    match (answered.peek().is_some(), wanted) {
        (true, _) if answered.all(|tried| tried.problem == NodeProblem::Crowded) => {
            let message = format!("no room within {} ({}): {}", Span(waited), List(&tried), Remedies(&tried));
            ClientError::Busy { message }
        }
        (true, Wanted::Master) => ClientError::NoMaster { waited, tried },
        _ => ClientError::Unreachable { waited, tried },
    }
}
