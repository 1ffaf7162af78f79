//! Unary calls through link, server and router.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use tokio::net::TcpListener;

use super::kit::*;
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::transport::{Lane, Transport, TransportError};
use crate::wire::pb;
use crate::wire::pb::refusal::Reason;
use crate::wire::version::WIRE_VERSIONS;

fn refused(outcome: Result<impl std::fmt::Debug, TransportError>) -> pb::Refusal {
    match outcome {
        Err(TransportError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_call_reaches_its_ledger_and_comes_back() {
    let rig = Rig::start(Replication::Echo).await;
    for lane in [Lane::Control, Lane::Data] {
        let link = rig.link(lane);
        let identity = link.identify(identify(), LONG).await.unwrap();
        assert_eq!(
            (identity.incarnation.as_ref(), identity.empty, identity.segment_size),
            ([7; 16].as_ref(), true, 65)
        );
        assert_eq!(identity.advertised_address, "n1");

        let granted = link.request_vote(vote(5), LONG).await.unwrap();
        assert_eq!((granted.vote, granted.granted, granted.last_log_id), (vote(5).vote, true, vote(5).last_log_id));

        rig.ledger.heartbeats.add_permits(1);
        let beat = link.heartbeat(append(0), LONG).await.unwrap();
        assert_eq!(beat, matched(append(0).previous));

        let snapshot =
            pb::SnapshotRequest { envelope: Some(envelope()), vote: vote(3).vote, ..pb::SnapshotRequest::default() };
        let asked = pb::ReadIndexRequest { envelope: Some(envelope()), proof: 1, within_ms: 77 };
        assert_eq!(link.read_index(asked, LONG).await.unwrap().number, 77);

        assert_eq!(link.install_snapshot(snapshot, LONG).await.unwrap().vote, vote(3).vote);
    }
    rig.server.shutdown().await;
}

#[tokio::test]
async fn calls_at_once_share_one_connection_per_lane() {
    let rig = Rig::start(Replication::Echo).await;
    let transport = GrpcTransport::new(GrpcOptions::default());
    let address = rig.address().to_string();
    for (lane, connections) in [(Lane::Control, 1), (Lane::Data, 2), (Lane::Control, 2)] {
        let links = (0..50).map(|_| transport.link(&address, lane));
        for granted in join_all(links.map(|link| async move { link.request_vote(vote(1), LONG).await })).await {
            assert!(granted.unwrap().granted);
        }
        assert_eq!(rig.server.connections(), connections);
    }
    assert_eq!(rig.ledger.votes.load(Ordering::Relaxed), 150);
}

#[tokio::test]
async fn a_refusal_arrives_with_all_it_says() {
    let rig = Rig::start(Replication::Echo).await;
    let link = rig.link(Lane::Control);
    let error = link.pre_vote(vote(1), LONG).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("found one disk, expected another disk"), "{text}");
    let refusal = refused(Err::<(), _>(error));
    assert_eq!(refusal.reason(), Reason::TargetIncarnation);
    assert_eq!((refusal.found.as_str(), refusal.expected.as_str()), ("one disk", "another disk"));
}

#[tokio::test]
async fn calls_that_are_for_somebody_else_are_refused() {
    let rig = Rig::start(Replication::Echo).await;
    let link = rig.link(Lane::Control);
    let cases = [
        (Reason::Cluster, pb::Envelope { cluster: "other".into(), ..envelope() }, "other", "dledger"),
        (Reason::Group, pb::Envelope { group: "g9".into(), ..envelope() }, "g9", "g0"),
        (Reason::WireVersion, pb::Envelope { wire_version: WIRE_VERSIONS.end() + 1, ..envelope() }, "3", "1 or 2"),
    ];
    for (reason, envelope, found, expected) in cases {
        let request = pb::VoteRequest { envelope: Some(envelope), ..vote(1) };
        let refusal = refused(link.request_vote(request, LONG).await);
        assert_eq!(refusal.reason(), reason);
        assert_eq!((refusal.found.as_str(), refusal.expected.as_str()), (found, expected));
    }
    for wire_version in WIRE_VERSIONS {
        let request = pb::VoteRequest { envelope: Some(pb::Envelope { wire_version, ..envelope() }), ..vote(1) };
        assert_ne!(refused(link.pre_vote(request, LONG).await).reason(), Reason::WireVersion);
    }
    let request = pb::VoteRequest { envelope: None, ..vote(1) };
    assert_eq!(refused(link.request_vote(request, LONG).await).reason(), Reason::Malformed);
    assert_eq!(rig.ledger.votes.load(Ordering::Relaxed), 0, "none of them reached the ledger");
}

#[tokio::test]
async fn a_huge_name_is_refused_like_any_other() {
    let rig = Rig::start(Replication::Echo).await;
    let request =
        pb::VoteRequest { envelope: Some(pb::Envelope { cluster: "x".repeat(1 << 20), ..envelope() }), ..vote(1) };
    let refusal = refused(rig.link(Lane::Control).request_vote(request, LONG).await);
    assert_eq!(refusal.reason(), Reason::Cluster);
    assert!(refusal.found.ends_with("(1048576 bytes)"), "{}", refusal.found);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap().to_string();
    drop(listener);
    for (address, why) in [(free.as_str(), "refused"), ("no address", "host:port"), ("name.invalid:1", "")] {
        let link = link(address, Lane::Control);
        for _ in 0..2 {
            match link.identify(identify(), LONG).await {
                Err(TransportError::Unreachable { address: at, reason }) => {
                    assert_eq!(at, address);
                    assert!(reason.contains(why), "{reason}");
                }
                other => panic!("{address}: {other:?}"),
            }
            let opened = link.replicate(appends(1)).await;
            assert!(matches!(opened, Err(TransportError::Unreachable { .. })));
        }
    }
}

#[tokio::test]
async fn a_call_waits_no_longer_than_it_was_told() {
    let rig = Rig::start(Replication::Echo).await;
    let link = rig.link(Lane::Control);
    let error = soon(link.heartbeat(append(0), SHORT)).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { after, .. } if after == SHORT), "{error}");
    // A peer that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = super::kit::link(&silent.local_addr().unwrap().to_string(), Lane::Control);
    let error = soon(link.identify(identify(), SHORT)).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    let link = link_that_stalls_soon(silent.local_addr().unwrap());
    let Err(error) = soon(link.replicate(appends_then_idle(1))).await else { panic!("opened by nobody") };
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_hanging_call_does_not_hold_up_the_others() {
    let rig = Rig::start(Replication::Echo).await;
    let link = rig.link(Lane::Control);
    let hanging = tokio::spawn({
        let link = link.clone();
        async move { link.heartbeat(append(0), LONG).await }
    });
    assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
    assert!(!hanging.is_finished());
    rig.ledger.heartbeats.add_permits(1);
    soon(hanging).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_message_over_the_bound_is_not_taken() {
    let rig = Rig::start(Replication::Echo).await;
    let link = rig.link(Lane::Data);
    rig.ledger.heartbeats.add_permits(2);
    let limit = GrpcOptions::default().max_message_bytes;
    let sized = |frames: usize| pb::AppendRequest { frames: vec![0; frames].into(), ..append(0) };
    assert!(link.heartbeat(sized(limit - 1000), LONG).await.is_ok());
    let error = link.heartbeat(sized(limit + 1), LONG).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
    // A caller that does not keep to the bound itself sends the same.
    let generous = GrpcTransport::new(GrpcOptions { max_message_bytes: limit * 2, ..GrpcOptions::default() });
    let error = generous.link(&rig.address().to_string(), Lane::Data).heartbeat(sized(limit + 1), LONG).await;
    assert!(matches!(error, Err(TransportError::Broken { .. })), "{error:?}");
    assert!(link.heartbeat(sized(1), LONG).await.is_ok());
}

#[tokio::test]
async fn a_kept_link_works_again_when_the_server_is_back_on_its_port() {
    let first = Rig::start(Replication::Echo).await;
    let address = first.address().to_string();
    let links = [link(&address, Lane::Control), link(&address, Lane::Data)];
    for link in &links {
        assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
    }
    for _ in 0..3 {
        let rig = Rig::start(Replication::Echo).await;
        rig.server.shutdown().await;
    }
    first.server.shutdown().await;
    for link in &links {
        let error = link.request_vote(vote(2), LONG).await.unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. } | TransportError::Broken { .. }), "{error}");
    }
    let second = Rig::start_at(&address, Replication::Echo, server_options()).await;
    for link in &links {
        // The first call may still find the remains of the old connection.
        let again = match link.request_vote(vote(3), LONG).await {
            Ok(answer) => Ok(answer),
            Err(_) => link.request_vote(vote(3), LONG).await,
        };
        assert!(again.unwrap().granted);
    }
    assert!(second.ledger.votes.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn a_connection_that_has_gone_dumb_is_given_up() {
    let rig = Rig::start(Replication::Echo).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let (server, (dumb, is_dumb)) = (rig.address(), tokio::sync::watch::channel(0));
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = taken.clone();
    // Passes bytes on, but keeps the connections up to number `dumb` open without passing anything on.
    tokio::spawn(async move {
        for number in 1.. {
            let (mut near, _) = proxy.accept().await.unwrap();
            count.store(number, Ordering::Relaxed);
            let mut is_dumb = is_dumb.clone();
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = async { is_dumb.wait_for(|dumb| *dumb >= number).await.is_ok() } => {
                        std::future::pending().await
                    }
                }
            });
        }
    });
    let quick = SHORT * 3;
    let options = GrpcOptions { keepalive_interval: quick, keepalive_timeout: quick, ..GrpcOptions::default() };
    // Unanswered pings end the first lane's channel, calls that all fail the second's.
    for (lane, stall_timeout) in [(Lane::Control, LONG * 10), (Lane::Data, quick)] {
        let options = GrpcOptions { stall_timeout, ..options.clone() };
        let link = GrpcTransport::new(options).link(&address, lane);
        assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
        dumb.send_replace(taken.load(Ordering::Relaxed));
        assert!(link.request_vote(vote(1), SHORT).await.is_err());
        soon(async { while link.request_vote(vote(1), SHORT).await.is_err() {} }).await;
    }
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let rig = Rig::start(Replication::Echo).await;
    let link = link(&format!("localhost:{}", rig.address().port()), Lane::Control);
    assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
}

#[tokio::test]
async fn other_services_stand_beside_the_peer_service() {
    use tonic::codegen::http;
    use tonic::server::NamedService;

    #[derive(Clone)]
    struct Hello;
    impl NamedService for Hello {
        const NAME: &'static str = "test.Hello";
    }
    impl tonic::codegen::Service<http::Request<tonic::body::Body>> for Hello {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
            std::future::ready(Ok(tonic::Status::data_loss("hello").into_http()))
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let router = Arc::new(crate::transport::router::Router::new(crate::types::ClusterName::default()));
    let extra = tonic::service::Routes::new(Hello);
    let server = crate::transport::grpc::server::GrpcServer::start(listener, router, extra, server_options()).unwrap();
    let address = server.local_addr().to_string();
    let refusal = refused(link(&address, Lane::Control).identify(identify(), LONG).await);
    assert_eq!(refusal.reason(), Reason::Group);

    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::Vote, pb::Vote>::default();
    let path = http::uri::PathAndQuery::from_static("/test.Hello/Say");
    let status = grpc.unary(tonic::Request::new(pb::Vote::default()), path, codec).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::DataLoss, "hello"));
}
