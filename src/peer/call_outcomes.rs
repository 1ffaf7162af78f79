//! Records how calls to the members end: for the operator, and because a refusal may say that this node was removed.

use super::convert::Malformed;
use super::outages::Outages;
use crate::raft::Runtime;
use crate::raft::role::standing::Standing;
use crate::transport::TransportError;

/// Where the ends of one ledger's calls are recorded.
#[derive(Default)]
pub(super) struct CallOutcomes {
    /// The outages of all ledgers of the node.
    pub(super) outages: Outages,
    /// Learns that this node was removed: a peer that knows it adds that to every refusal.
    pub(super) standing: Standing,
}

impl CallOutcomes {
    /// Records how a call to `target` for the ledger of `group` ended.
    pub(super) fn note<R: Runtime, T>(
        &self,
        target: &str,
        group: &str,
        ended: Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        if let Err(TransportError::Refused { refusal, .. }) = &ended
            && refusal.removed
        {
            self.standing.tell_removed(target);
        }
        self.outages.note::<R, T>(target, group, &ended);
        ended
    }

    /// Records whether an answer of `target` for the ledger of `group` was well-formed.
    pub(super) fn read<R: Runtime, T>(
        &self,
        target: &str,
        group: &str,
        read: Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        self.outages.note_sense::<R, T>(target, group, &read);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::TokioRuntime;
    use crate::wire::pb;

    #[tokio::test]
    async fn a_peer_that_says_that_this_node_was_removed_is_heard() {
        let refused = |removed| {
            let refusal = pb::Refusal { reason: pb::refusal::Reason::Sender.into(), removed, ..Default::default() };
            Err::<(), _>(TransportError::Refused { address: "n1:1".into(), refusal })
        };
        let outcomes = CallOutcomes::default();
        let told = outcomes.standing.removed();
        assert!(outcomes.note::<TokioRuntime, _>("n1", "g", refused(false)).is_err());
        assert_eq!(*told.borrow(), None);
        assert!(outcomes.note::<TokioRuntime, _>("n1", "g", refused(true)).is_err());
        assert_eq!(told.borrow().as_deref(), Some("n1"));
    }
}
