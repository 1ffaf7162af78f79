//! How openraft tells the outcome of a batch.

use std::any::Any;
use std::sync::Arc;

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::{OptionalSend, RaftTypeConfig};

use super::inflight::InflightBatch;

/// Hears from openraft how a batch ended, and tells its appends.
pub(crate) struct BatchResponder(Option<Arc<InflightBatch>>);

impl BatchResponder {
    pub(crate) fn new(inflight: Arc<InflightBatch>) -> Self {
        Self(Some(inflight))
    }
}

impl<C, T> Responder<C, T> for BatchResponder
where
    C: RaftTypeConfig,
    T: OptionalSend + 'static,
{
    fn on_complete(mut self, result: T) {
        let Some(inflight) = self.0.take() else { return };
        let result: &dyn Any = &result;
        match result.downcast_ref::<ClientWriteResult<C>>() {
            Some(Ok(_)) => inflight.committed(),
            // Raft refuses so before it writes anything.
            Some(Err(ClientWriteError::ForwardToLeader(_))) => inflight.refused(),
            Some(Err(error)) => inflight.lost(&error.to_string()),
            None => inflight.lost("Raft answered with something else"),
        }
    }
}

impl Drop for BatchResponder {
    /// Raft stopped before it answered.
    fn drop(&mut self) {
        if let Some(inflight) = self.0.take() {
            inflight.lost("Raft stopped before it was committed");
        }
    }
}
