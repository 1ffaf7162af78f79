//! An append that is under way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::types::BatchAck;

/// An append whose place in the order of this process's appends is fixed. Resolves to its outcome.
///
/// Dropping it does not take the append back: you just do not learn its outcome.
#[must_use = "the outcome of an append says whether it is in the log"]
#[derive(Debug)]
pub struct Pending {
    pub(super) outcome: oneshot::Receiver<Result<BatchAck, AppendError>>,
}

impl Future for Pending {
    type Output = Result<BatchAck, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(context));
        Poll::Ready(outcome.unwrap_or_else(|_| {
            Err(AppendError::Unknown { reason: "the node stopped while the append was under way".into() })
        }))
    }
}
