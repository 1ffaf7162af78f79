//! What a node whose ledger has failed tells a peer.

use super::*;

/// openraft's own error text begins with its names for what it was doing.
#[tokio::test]
async fn a_peer_is_told_why_a_ledger_is_closed_and_not_by_whom() {
    let n0 = served().await;
    let append = |previous, frames| pb::AppendRequest {
        envelope: n0.envelope.clone(),
        vote: vote(1, "n1", true),
        previous,
        frames,
        ..Default::default()
    };
    n0.append(append(None, frames(0, &[1, 1, 1]))).await;
    // The frame's position is not the one behind entry 2.
    let refusal = n0.server.heartbeat(append(id(1, 2), frames(3, &[1]))).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::Closed, "{refusal:?}");
    let (told, names) = (&refusal.found, ["Write", "std::", "io::"]);
    assert!(told.starts_with("appending in ") && told.contains("does not fit"), "{told}");
    assert!(!names.iter().any(|name| told.contains(name)), "{told}");
}
