//! What has nothing to do uses no processor time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::Config;
use crate::disk::real::RealDisk;
use crate::error::AppendError;
use crate::log::directory::Identity;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions};
use crate::peer::network::PeerNetwork;
use crate::peer::peer_vote_collector::PeerVoteCollector;
use crate::peer::read_quorum::ReadQuorum;
use crate::raft::append::proposer::Proposer;
use crate::raft::append::waiter::Waiter;
use crate::raft::heartbeat::ticker::Ticker;
use crate::raft::membership::acks::MemberAcks;
use crate::raft::replica::{self, ReplicaOptions};
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::{Raft, TokioRuntime};
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::types::{Incarnation, Member, NodeId, Role};

/// A node that has no cluster yet: its Raft refuses every append.
async fn pristine(dir: &std::path::Path) -> (replica::Replica, Raft<TokioRuntime>) {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: NodeId::new(0),
        segment_size: 64 << 10,
        incarnation: Incarnation::random(),
    };
    let options = LogOptions {
        segment_size: identity.segment_size,
        interval: None,
        scheduler: Arc::new(FlushThread::start().unwrap()),
        background: Arc::new(BackgroundThread::start().unwrap()),
    };
    let (log, _) = Log::open(Arc::new(RealDisk), dir.join("g"), identity.clone(), options).unwrap();
    let (floor, purge_floor) = PurgeFloor::new(log.reader());
    let transport = Arc::new(GrpcTransport::new(GrpcOptions::default()));
    let network = PeerNetwork::new(
        identity,
        transport,
        "h:0".into(),
        Duration::ZERO,
        purge_floor,
        MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), Arc::new(|_| true), true),
    );
    let config = Config::new(NodeId::new(0), "127.0.0.1:0");
    let ticker = Ticker::new(&config);
    let probe = Arc::new(ReadQuorum::<TokioRuntime>::new(network.clone()));
    let (acks, standing, votes) =
        (network.acknowledged(), network.standing(), Arc::new(PeerVoteCollector::<TokioRuntime>::new(network.clone())));
    let (clock, ticker) = (Arc::new(|| 0), &ticker);
    let options = ReplicaOptions { config: &config, log, clock, floor, ticker, probe, acks, standing, votes };
    replica::start(options, network).await.unwrap()
}

/// How long this thread has been on a processor.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_proposer_whose_batch_is_refused_as_the_role_is_lost_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    let (group, raft) = pristine(dir.path()).await;
    // What the role task still says, while Raft refuses already.
    let (role, watch) = watch::channel(Role::Master { term: 1 });
    let (proposals, submitted) = mpsc::unbounded_channel();
    let (gate, standing) = (group.admission.clone(), group.standing.clone());
    let proposer = Proposer::new(raft.clone(), gate, watch, standing, submitted, mpsc::unbounded_channel().1, 1 << 20);
    let mut proposer = Box::pin(proposer.run());
    assert!(futures::poll!(&mut proposer).is_pending());
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let (waiter, outcome) = Waiter::new(vec![Bytes::from_static(b"a")], Duration::from_secs(60), None, permit);
    proposals.send(waiter).unwrap();
    assert!(futures::poll!(&mut proposer).is_pending());
    // Raft refuses; then the role task says why. The proposer's turn comes after both.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let master = Member { id: NodeId::new(1), address: "h:1".into(), incarnation: Incarnation::random() };
    role.send_replace(Role::Slave { term: 2, master });
    let proposer = tokio::spawn(proposer);
    assert!(matches!(outcome.await.unwrap(), Err(AppendError::NotMaster { .. })));
    let before = on_processor();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let busy = on_processor() - before;
    proposer.abort();
    assert!(busy < Duration::from_millis(250), "idle, but {busy:?} of 500 ms on the processor");
}
