//! Who may call a node, and for which disk.

use super::*;

#[tokio::test]
async fn a_call_for_the_disk_that_was_wiped_is_refused() {
    let n0 = served().await;
    // n1 knows n0 by a disk that is gone; the disk of now has promised and acknowledged nothing.
    let envelope = pb::Envelope { target_incarnation: vec![9; 16].into(), ..n0.envelope.clone().unwrap() };
    let known = Some(envelope.clone());
    let request = pb::VoteRequest { envelope: known.clone(), vote: vote(3, "n1", false), ..Default::default() };
    let append = pb::AppendRequest { envelope: known, vote: vote(3, "n1", true), ..Default::default() };
    let refusals = [
        n0.server.request_vote(request.clone()).await.unwrap_err(),
        n0.server.pre_vote(request).await.unwrap_err(),
        n0.server.heartbeat(append).await.unwrap_err(),
        n0.server.replicate(envelope, stream::empty().boxed()).await.err().unwrap(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.reason(), Reason::TargetIncarnation, "{refusal:?}");
        assert_eq!(refusal.expected, n0.replica.identity.incarnation.to_string());
    }
}

#[tokio::test]
async fn nobody_speaks_for_another() {
    let n0 = served().await;
    n0.refuses_append(pb::AppendRequest { vote: vote(3, "n0", true), ..Default::default() }, "n0").await;
    let request = pb::VoteRequest { envelope: n0.envelope.clone(), vote: vote(3, "n2", false), ..Default::default() };
    n0.refuses(n0.server.request_vote(request.clone()).await, "n2").await;
    n0.refuses(n0.server.pre_vote(request).await, "n2").await;
    let last = pb::LogId { term: 1, number: 10 };
    let request = pb::SnapshotRequest { vote: vote(3, "n0", true), ..n0.snapshot(3, last) };
    n0.refuses(n0.server.install_snapshot(request).await, "n0").await;
    let from = vote(3, "n2", true);
    let request = pb::TransferRequest { envelope: n0.envelope.clone(), from, to: "n0".into(), ..Default::default() };
    n0.refuses(n0.server.transfer_leader(request).await, "n2").await;
}
