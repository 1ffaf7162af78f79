//! The replication stream.

use futures::StreamExt;

use super::kit::*;
use crate::transport::{AnswerStream, Lane, TransportError};
use crate::wire::pb::{self, refusal::Reason};

async fn next(answers: &mut AnswerStream) -> Option<Result<pb::AppendResponse, TransportError>> {
    soon(answers.next()).await
}

#[tokio::test]
async fn thousands_of_requests_are_answered_in_order() {
    let rig = Rig::start(Replication::Echo).await;
    let mut answers = rig.link(Lane::Data).replicate(appends(20_000)).await.unwrap();
    for number in 0..20_000 {
        assert_eq!(next(&mut answers).await.unwrap().unwrap(), matched(append(number).previous));
    }
    assert!(next(&mut answers).await.is_none(), "the stream ends after its requests have");
    rig.server.shutdown().await;
}

#[tokio::test]
async fn large_frames_arrive_whole() {
    let mut rig = Rig::start(Replication::Echo).await;
    let big = |n: u64| pb::AppendRequest { frames: vec![n as u8; 8 << 20].into(), ..append(n) };
    let requests = futures::stream::iter(0..4).map(big).boxed();
    let mut answers = rig.link(Lane::Data).replicate(requests).await.unwrap();
    for number in 0..4 {
        assert!(next(&mut answers).await.unwrap().is_ok());
        match rig.next_seen().await {
            Seen::Request(request) => assert!(*request == big(number), "request {number} has changed under way"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_opens_before_there_is_anything_to_replicate() {
    let rig = Rig::start(Replication::Echo).await;
    let (give, requests) = futures::channel::mpsc::unbounded();
    let mut answers = soon(rig.link(Lane::Data).replicate(requests.boxed())).await.unwrap();
    for number in 0..3 {
        give.unbounded_send(append(number)).unwrap();
        assert_eq!(next(&mut answers).await.unwrap().unwrap(), matched(append(number).previous));
    }
}

#[tokio::test]
async fn a_refused_stream_ends_with_the_refusal() {
    let rig = Rig::start(Replication::RefuseAfter(3)).await;
    let mut answers = rig.link(Lane::Data).replicate(appends(50_000)).await.unwrap();
    for _ in 0..3 {
        assert!(next(&mut answers).await.unwrap().is_ok());
    }
    match next(&mut answers).await {
        Some(Err(TransportError::Refused { refusal, .. })) => {
            assert_eq!(refusal.reason(), Reason::Closed);
            assert_eq!((refusal.found.as_str(), refusal.expected.as_str()), ("a closed ledger", "an open one"));
        }
        other => panic!("{other:?}"),
    }
    assert!(next(&mut answers).await.is_none());
}

#[tokio::test]
async fn a_stream_for_another_group_is_refused() {
    let rig = Rig::start(Replication::Echo).await;
    let envelope = pb::Envelope { group: "g9".into(), ..envelope() };
    let lost = pb::AppendRequest { envelope: Some(envelope), ..append(0) };
    let no_envelope = pb::AppendRequest { envelope: None, ..append(0) };
    for (request, reason) in [(lost, Reason::Group), (no_envelope, Reason::Malformed)] {
        let requests = futures::stream::once(async { request }).chain(appends_then_idle(5)).boxed();
        let mut answers = rig.link(Lane::Data).replicate(requests).await.unwrap();
        match next(&mut answers).await {
            Some(Err(TransportError::Refused { refusal, .. })) => assert_eq!(refusal.reason(), reason),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stalled_stream_is_broken_and_the_next_one_takes_another_connection() {
    let mut rig = Rig::start(Replication::Mute).await;
    let link = link_that_stalls_soon(rig.address());
    // A call that outlives the stall keeps the first connection open.
    let hanging = tokio::spawn({
        let link = link.clone();
        async move { link.heartbeat(append(0), LONG).await }
    });
    for connections in 1..=2 {
        let mut answers = link.replicate(appends_then_idle(2)).await.unwrap();
        assert_eq!(rig.server.connections(), connections);
        match next(&mut answers).await {
            Some(Err(TransportError::Broken { reason, .. })) => {
                assert!(reason.contains("stalled: 2 requests unanswered"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert!(next(&mut answers).await.is_none());
        // The call is over even while the caller still holds the answers.
        while !matches!(rig.next_seen().await, Seen::Ended) {}
    }
    rig.ledger.heartbeats.add_permits(1);
    soon(hanging).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_stream_is_not_stalled() {
    let rig = Rig::start(Replication::Echo).await;
    let (give, requests) = futures::channel::mpsc::unbounded();
    let mut answers = link_that_stalls_soon(rig.address()).replicate(requests.boxed()).await.unwrap();
    for number in 0..2 {
        let idle = tokio::time::timeout(std::time::Duration::from_millis(600), answers.next()).await;
        assert!(idle.is_err(), "{idle:?}");
        give.unbounded_send(append(number)).unwrap();
        assert!(next(&mut answers).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn dropping_the_answers_ends_the_requests_on_both_sides() {
    for replication in [Replication::Echo, Replication::Mute, Replication::Deaf] {
        let mut rig = Rig::start(replication).await;
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let requests = appends_then_idle(10).inspect(move |_| {
            let _held = &alive;
        });
        let answers = rig.link(Lane::Data).replicate(requests.boxed()).await.unwrap();
        assert!(matches!(rig.next_seen().await, Seen::Request(_)));
        drop(answers);
        assert!(soon(gone).await.is_err(), "the requests are dropped with the answers");
        while !matches!(rig.next_seen().await, Seen::Ended) {}
        rig.server.shutdown().await;
    }
}

#[tokio::test]
async fn a_peer_that_takes_no_requests_is_a_stall_too() {
    let mut rig = Rig::start(Replication::Deaf).await;
    let frames = bytes::Bytes::from(vec![0; 1 << 20]);
    // More than all windows hold: in the end hyper cannot even take the next request.
    let requests = futures::stream::iter(0..).map(move |n| pb::AppendRequest { frames: frames.clone(), ..append(n) });
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let requests = requests.inspect(move |_| {
        let _held = &alive;
    });
    let mut answers = link_that_stalls_soon(rig.address()).replicate(requests.boxed()).await.unwrap();
    assert!(next(&mut answers).await.unwrap().is_ok());
    let error = next(&mut answers).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("stalled"), "{error}");
    assert!(soon(gone).await.is_err(), "requests nobody can take are dropped with the stream");
    drop(answers);
    while !matches!(rig.next_seen().await, Seen::Ended) {}
}

#[tokio::test]
async fn a_busy_stream_does_not_hold_up_the_control_lane() {
    let rig = Rig::start(Replication::Deaf).await;
    let frames = bytes::Bytes::from(vec![0; 1 << 20]);
    let requests = futures::stream::iter(0..).map(move |n| pb::AppendRequest { frames: frames.clone(), ..append(n) });
    let mut answers = rig.link(Lane::Data).replicate(requests.boxed()).await.unwrap();
    assert!(next(&mut answers).await.unwrap().is_ok());
    for term in 0..20 {
        assert!(rig.link(Lane::Control).request_vote(vote(term), LONG).await.unwrap().granted);
    }
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams_and_frees_the_port() {
    let rig = Rig::start(Replication::Echo).await;
    let address = rig.address();
    let mut answers = rig.link(Lane::Data).replicate(appends_then_idle(1)).await.unwrap();
    assert!(next(&mut answers).await.unwrap().is_ok());
    soon(rig.server.shutdown()).await;
    match next(&mut answers).await {
        Some(Err(TransportError::Broken { reason, .. })) => assert!(reason.contains("stopping"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let again = Rig::start_at(&address.to_string(), Replication::Echo, server_options()).await;
    assert_eq!(again.address(), address);
}

#[tokio::test]
async fn a_call_that_hangs_does_not_hold_up_the_stop() {
    let rig = Rig::start(Replication::Echo).await;
    let address = rig.address();
    let link = rig.link(Lane::Control);
    assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
    let request = pb::TransferRequest { envelope: Some(envelope()), ..pb::TransferRequest::default() };
    let hanging = tokio::spawn(async move { link.transfer_leader(request, LONG * 10).await });
    tokio::task::yield_now().await;
    soon(rig.server.shutdown()).await;
    let error = soon(hanging).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. } | TransportError::Unreachable { .. }), "{error}");
    Rig::start_at(&address.to_string(), Replication::Echo, server_options()).await;
}

#[tokio::test]
async fn a_dropped_server_stops() {
    let rig = Rig::start(Replication::Echo).await;
    let mut answers = rig.link(Lane::Data).replicate(appends_then_idle(1)).await.unwrap();
    assert!(next(&mut answers).await.unwrap().is_ok());
    drop(rig.server);
    let error = next(&mut answers).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
}
