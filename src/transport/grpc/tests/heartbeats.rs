//! Heartbeats of many ledgers over one lane.

use std::sync::Arc;

use futures::future::join_all;
use tokio::net::TcpListener;
use tonic::service::Routes;

use super::kit::*;
use crate::transport::grpc::server::GrpcServer;
use crate::transport::heartbeats::MAX_HEARTBEATS;
use crate::transport::router::Router;
use crate::transport::{Lane, Link, TransportError};
use crate::types::{ClusterName, Group};
use crate::wire::pb;
use crate::wire::pb::refusal::Reason;

/// A server with many pretended ledgers, and a heartbeat lane to it.
struct Hosts {
    server: GrpcServer,
    router: Arc<Router>,
    ledgers: Vec<Arc<FakeLedger>>,
    link: Arc<dyn Link>,
}

impl Hosts {
    /// All ledgers but the `silent` answer heartbeats at once.
    async fn start(count: usize, silent: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = Arc::new(Router::new(ClusterName::default()));
        let ledgers = (0..count).map(|n| {
            let (ledger, _) = FakeLedger::new(Replication::Echo);
            ledger.heartbeats.add_permits(if silent.contains(&n) { 0 } else { 1000 });
            router.insert(&format!("g{n}").parse::<Group>().unwrap(), ledger.clone());
            ledger
        });
        let ledgers = ledgers.collect();
        let server = GrpcServer::start(listener, router.clone(), Routes::default(), server_options()).unwrap();
        let link = link(&server.local_addr().to_string(), Lane::Heartbeat);
        Self { server, router, ledgers, link }
    }

    async fn beat(&self, n: usize) -> Result<pb::AppendResponse, TransportError> {
        self.link.heartbeat(beat(n), LONG).await
    }
}

/// A heartbeat of ledger `n`, unlike all others.
fn beat(n: usize) -> pb::AppendRequest {
    let envelope = Some(pb::Envelope { group: format!("g{n}"), ..envelope() });
    pb::AppendRequest { envelope, frames: Default::default(), ..append(n as u64) }
}

#[tokio::test]
async fn heartbeats_that_fall_due_together_travel_in_one_call_and_each_gets_its_own_answer() {
    let hosts = Hosts::start(100, &[]).await;
    for round in 1..=3 {
        for (n, answer) in join_all((0..100).map(|n| hosts.beat(n))).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), matched(Some(pb::LogId { term: 1, number: n as u64 })));
        }
        assert_eq!(hosts.router.heartbeats(), (round, round * 100));
    }
    assert_eq!(hosts.server.connections(), 1);
    // A single heartbeat is a call like any other.
    hosts.beat(5).await.unwrap();
    assert_eq!(hosts.router.heartbeats(), (4, 301));
}

#[tokio::test]
async fn a_ledger_that_is_slow_to_answer_delays_no_other() {
    let hosts = Hosts::start(10, &[3]).await;
    let slow = hosts.beat(3);
    let others = join_all((0..10).filter(|n| *n != 3).map(|n| hosts.beat(n)));
    futures::pin_mut!(slow);
    tokio::select! {
        answer = &mut slow => panic!("{answer:?}"),
        answers = soon(others) => assert!(answers.iter().all(Result::is_ok), "{answers:?}"),
    }
    // Nor does it delay their next ones, which travel in another call.
    tokio::select! {
        answer = &mut slow => panic!("{answer:?}"),
        answers = soon(join_all([hosts.beat(1), hosts.beat(2)])) => assert!(answers.iter().all(Result::is_ok)),
    }
    hosts.ledgers[3].heartbeats.add_permits(1);
    assert_eq!(soon(slow).await.unwrap(), matched(beat(3).previous));
}

#[tokio::test]
async fn a_ledger_that_never_answers_times_out_alone() {
    let hosts = Hosts::start(3, &[1]).await;
    let calls = (0..3).map(|n| hosts.link.heartbeat(beat(n), if n == 1 { SHORT } else { LONG }));
    let answers = soon(join_all(calls)).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(matches!(&answers[1], Err(TransportError::Timeout { after, .. }) if *after == SHORT), "{answers:?}");
}

#[tokio::test]
async fn a_refused_heartbeat_is_refused_alone() {
    let hosts = Hosts::start(2, &[]).await;
    let entries = pb::AppendRequest { frames: vec![1; 10].into(), ..beat(1) };
    let nameless = pb::AppendRequest { envelope: None, ..beat(1) };
    let huge = pb::Envelope { cluster: "x".repeat(1 << 16), ..envelope() };
    let huge = pb::AppendRequest { envelope: Some(huge), ..beat(1) };
    let requests = [beat(0), beat(7), entries, nameless, huge, beat(1)];
    let answers = join_all(requests.map(|request| hosts.link.heartbeat(request, LONG))).await;
    let reasons: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(_) => None,
            Err(TransportError::Refused { refusal, .. }) => {
                assert!(refusal.found.len() < 1000);
                Some(refusal.reason())
            }
            Err(other) => panic!("{other}"),
        })
        .collect();
    let [group, malformed, cluster] = [Reason::Group, Reason::Malformed, Reason::Cluster].map(Some);
    assert_eq!(reasons, [None, group, malformed, malformed, cluster, None]);
}

#[tokio::test]
async fn more_heartbeats_than_a_call_may_have_travel_in_two() {
    let hosts = Hosts::start(1, &[]).await;
    hosts.ledgers[0].heartbeats.add_permits(MAX_HEARTBEATS);
    let answers = join_all((0..MAX_HEARTBEATS + 1).map(|_| hosts.beat(0))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(hosts.router.heartbeats(), (2, MAX_HEARTBEATS as u64 + 1));
}

#[tokio::test]
async fn nobody_there_is_told_to_all_who_wait() {
    let hosts = Hosts::start(2, &[]).await;
    hosts.server.shutdown().await;
    let link = hosts.link;
    let answers = join_all([0, 1].map(|n| link.heartbeat(beat(n), LONG))).await;
    for answer in answers {
        assert!(
            matches!(answer, Err(TransportError::Unreachable { .. } | TransportError::Broken { .. })),
            "{answer:?}"
        );
    }
}
