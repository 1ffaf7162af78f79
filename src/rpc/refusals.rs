//! What peers refuse calls for, told once, and what that says of this node.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::transport::TransportError;
use crate::raft::standing::Standing;

/// The last refusal of every kind of call to every peer. Calls are made over and over: the operator is told once why
/// they are refused, and again when the reason is another.
#[derive(Default)]
pub(super) struct Refusals {
    last: Mutex<HashMap<(String, &'static str), i32>>,
    /// A peer that knows that this node is a member no more says so with every refusal.
    pub(super) standing: Standing,
}

impl Refusals {
    /// Takes down how a call ended, and tells the operator when it was refused for a new reason.
    pub(super) fn note<T>(
        &self,
        target: &str,
        call: &'static str,
        ended: Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        if let Err(TransportError::Refused { refusal, .. }) = &ended
            && refusal.removed
        {
            self.standing.tell_removed(target);
        }
        if self.is_new(target, call, &ended)
            && let Err(error) = &ended
        {
            tracing::warn!(target_node = target, call, %error, "calls to a peer are refused");
        }
        ended
    }

    /// Whether the call was refused for a reason that is new.
    fn is_new<T>(&self, target: &str, call: &'static str, ended: &Result<T, TransportError>) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.to_owned(), call);
        match ended {
            Ok(_) => {
                last.remove(&key);
                false
            }
            Err(TransportError::Refused { refusal, .. }) => last.insert(key, refusal.reason) != Some(refusal.reason),
            // Nothing was heard of the peer.
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn a_refusal_is_told_once_until_its_reason_changes() {
        let refused = |reason: pb::refusal::Reason, found: &str| {
            let refusal = pb::Refusal { reason: reason.into(), found: found.into(), ..Default::default() };
            Err::<(), _>(TransportError::Refused { address: "n1:1".into(), refusal })
        };
        let sender = |found| refused(pb::refusal::Reason::Sender, found);
        let broken = || Err::<(), _>(TransportError::Broken { address: "n1:1".into(), reason: "gone".into() });
        let refusals = Refusals::default();
        assert!(!refusals.is_new("n1", "vote", &broken()));
        assert!(refusals.is_new("n1", "vote", &sender("a")));
        assert!(!refusals.is_new("n1", "vote", &sender("b")));
        assert!(!refusals.is_new("n1", "vote", &broken()));
        assert!(!refusals.is_new("n1", "vote", &sender("b")));
        // Another peer, another call, another reason, and the same after an answer.
        assert!(refusals.is_new("n2", "vote", &sender("a")));
        assert!(refusals.is_new("n1", "heartbeat", &sender("a")));
        assert!(refusals.is_new("n1", "vote", &refused(pb::refusal::Reason::Closed, "a")));
        assert!(!refusals.is_new("n1", "vote", &Ok::<_, TransportError>(())));
        assert!(refusals.is_new("n1", "vote", &sender("a")));
    }

    #[test]
    fn a_peer_that_says_that_this_node_was_removed_is_heard() {
        let refused = |removed| {
            let refusal = pb::Refusal { reason: pb::refusal::Reason::Sender.into(), removed, ..Default::default() };
            Err::<(), _>(TransportError::Refused { address: "n1:1".into(), refusal })
        };
        let refusals = Refusals::default();
        let told = refusals.standing.removed();
        assert!(refusals.note("n1", "vote", refused(false)).is_err());
        assert_eq!(*told.borrow(), None);
        assert!(refusals.note("n1", "pre-vote", refused(true)).is_err());
        assert_eq!(told.borrow().as_deref(), Some("n1"));
    }
}
