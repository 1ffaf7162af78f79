//! What a node refused a call with, and what broke a connection, as errors of the client.

use std::time::Duration;

use super::ClientError;
use super::tried::{NodeProblem, TriedNode};
use crate::types::Span;
use crate::wire::client::from_status;
use crate::wire::pb::{self, failure::Code};

impl ClientError {
    /// What a node at `address` refused with.
    pub(crate) fn from_failure(address: &str, failure: pb::Failure) -> Self {
        let message = failure.message.clone();
        match failure.code() {
            Code::NotMaster => Self::NotMaster { master: failure.master, address: failure.master_address },
            Code::NoMaster => Self::NoMaster {
                waited: Duration::from_millis(failure.found),
                tried: vec![TriedNode { address: address.into(), reason: message, problem: NodeProblem::NoMaster }],
            },
            Code::TooLarge => Self::TooLarge { size: failure.found, limit: failure.limit, message },
            Code::EmptyBatch => Self::EmptyBatch,
            Code::Fenced => Self::Fenced { term: failure.found },
            Code::Busy => Self::Busy { message },
            Code::DiskFull => Self::DiskFull { reason: message },
            Code::Exhausted => Self::Exhausted { reason: message },
            Code::UnknownOutcome => Self::Unknown { reason: message },
            Code::Closed => Self::Closed { reason: message },
            Code::Members => Self::Members { message },
            Code::UnknownGroup => Self::UnknownGroup { message },
            Code::WrongCluster => Self::WrongCluster { message },
            Code::NotYet => Self::NotYet { index: failure.found, committed: failure.committed },
            Code::Removed => Self::Removed { index: failure.found, first: failure.first },
            Code::NoRecordAt => {
                let neighbour = |position| (position != 0).then_some(position);
                let (before, after) = (neighbour(failure.first), neighbour(failure.committed));
                let position = failure.found;
                Self::NoRecordAt { position, before, after, message }
            }
            Code::Unconfirmed => {
                let consistency = failure.consistency().into();
                Self::Unconfirmed { consistency, waited: Duration::from_millis(failure.found), reason: message }
            }
            Code::Damaged => Self::Damaged { index: failure.found, message },
            Code::Malformed => {
                Self::Malformed { address: address.into(), what: format!("it refused the request: {message}") }
            }
            Code::Unspecified => {
                let what = format!("failure code {}, {message}", failure.code);
                Self::Malformed { address: address.into(), what }
            }
        }
    }

    /// The node at `address` did not answer `within`.
    pub(crate) fn silent(address: &str, within: Duration) -> Self {
        let reason = format!("no answer within {}", Span(within));
        Self::Broken { address: address.to_owned(), reason, reached: false }
    }

    /// The error of a call to `address` that ended with `status`: the node's own failure, or the connection's.
    pub(crate) fn from_status(address: &str, status: &tonic::Status) -> Self {
        match from_status(status) {
            Some(failure) => Self::from_failure(address, failure),
            None if status.code() == tonic::Code::Unimplemented => {
                let what = "it has no ledger service, or was started without one".into();
                Self::Malformed { address: address.into(), what }
            }
            None => {
                let reached = !status_chain(status).any(|cause| cause.is::<tonic::ConnectError>());
                Self::Broken { address: address.into(), reason: reason(status), reached }
            }
        }
    }
}

fn status_chain(status: &tonic::Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |error| error.source())
}

/// What is wrong with a connection, in one line. tonic says "transport error" and hides the cause in the sources.
pub(crate) fn reason(status: &tonic::Status) -> String {
    let cause = std::error::Error::source(status).map(root);
    match (status.message(), cause) {
        (_, Some(cause)) => cause,
        ("", None) => status.code().description().to_owned(),
        (message, None) => message.to_owned(),
    }
}

/// The innermost cause.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    innermost.unwrap_or(error).to_string()
}
