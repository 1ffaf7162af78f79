//! How a call is refused.

use super::pb::{self, refusal::Reason};

/// A refusal that says what was found and what was expected.
pub(crate) fn refusal(reason: Reason, found: impl ToString, expected: impl ToString) -> pb::Refusal {
    pb::Refusal { reason: reason.into(), found: found.to_string(), expected: expected.to_string(), removed: false }
}
