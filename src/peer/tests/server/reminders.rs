//! What a leader says that a member has acknowledged, and what the member makes of it.

use super::*;
use crate::raft::log_id::log_id;

/// How a leader may speak to a member first.
#[derive(Debug, Clone, Copy)]
enum Way {
    Heartbeat,
    Stream,
    Snapshot,
    Transfer,
}

impl Served {
    /// The leader of term 4 says that this node has acknowledged entry 9 of term 3.
    async fn hears(&self, way: Way) {
        let (acknowledged, vote, envelope) = (id(3, 9), vote(4, "n1", true), self.envelope.clone());
        let append = pb::AppendRequest { envelope, vote, acknowledged, ..Default::default() };
        match way {
            Way::Heartbeat => drop(self.server.heartbeat(append).await.unwrap()),
            Way::Stream => {
                let first = append.envelope.clone().unwrap();
                let mut answers = self.server.replicate(first, stream::iter([Ok(append)]).boxed()).await.unwrap();
                answers.next().await.unwrap().unwrap();
            }
            Way::Snapshot => {
                let snapshot = self.snapshot(4, pb::LogId { term: 2, number: 4 });
                let snapshot = pb::SnapshotRequest { acknowledged, ..snapshot };
                self.server.install_snapshot(snapshot).await.unwrap();
            }
            Way::Transfer => {
                let pb::AppendRequest { envelope, vote, .. } = append;
                let (to, last_log_id) = ("n0".into(), id(4, 10));
                let transfer = pb::TransferRequest { envelope, from: vote, to, last_log_id, acknowledged };
                self.server.transfer_leader(transfer).await.unwrap();
            }
        }
    }

    async fn would_vote_for_one_that_has(&self, last_log_id: Option<pb::LogId>) -> bool {
        // A candidate that the leader hands over to asks like this: it need not wait for the lease to be over.
        let (envelope, vote) = (self.envelope.clone(), vote(5, "n1", false));
        let request = pb::VoteRequest { envelope, vote, last_log_id, leadership_transfer: true };
        self.server.request_vote(request).await.unwrap().granted
    }
}

#[tokio::test]
async fn a_leader_reminds_by_whatever_it_says_first() {
    for way in [Way::Heartbeat, Way::Stream, Way::Snapshot, Way::Transfer] {
        let n0 = served().await;
        n0.hears(way).await;
        assert_eq!(n0.replica.lost_entries.lacking(&n0.replica.log), Some(log_id(3, 9)), "{way:?}");
        assert!(!n0.would_vote_for_one_that_has(id(3, 8)).await, "{way:?}");
        assert!(n0.would_vote_for_one_that_has(id(3, 9)).await, "{way:?}");
    }
}

#[tokio::test]
async fn what_a_leader_of_the_past_says_was_acknowledged_is_not_asked_for() {
    for way in [Way::Heartbeat, Way::Stream, Way::Snapshot, Way::Transfer] {
        let n0 = served().await;
        n0.append(pb::AppendRequest { vote: vote(5, "n1", true), ..Default::default() }).await;
        n0.hears(way).await;
        assert_eq!(n0.replica.lost_entries.lacking(&n0.replica.log), None, "{way:?}");
    }
}
