//! What a peer must not be able to do to a node, whatever it sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use prost::Message;
use tempfile::TempDir;

use super::PeerServer;
use crate::config::Config;
use crate::disk::real::RealDisk;
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::frame::Draft;
use crate::log::directory::Identity;
use crate::log::threads::{BackgroundThread, FlushScheduler, FlushThread};
use crate::log::{Log, LogOptions};
use crate::peer::envelope::envelope;
use crate::peer::leader::watch::LeaderWatch;
use crate::peer::network::PeerNetwork;
use crate::peer::peer_vote_collector::PeerVoteCollector;
use crate::peer::read_quorum::ReadQuorum;
use crate::raft::TokioRuntime;
use crate::raft::heartbeat::ticker::Ticker;
use crate::raft::membership::acks::MemberAcks;
use crate::raft::replica::{self, Replica, ReplicaOptions};
use crate::raft::storage::purge::PurgeFloor;
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::transport::{PeerHandler, RequestStream};
use crate::types::{Incarnation, Role};
use crate::wire::pb::{self, refusal::Reason};

const LARGEST: u64 = u64::MAX / 2;
const PEERS: &str = "n0=h:0;n1=h:1";

fn identity(node: &str) -> Identity {
    Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: node.parse().unwrap(),
        segment_size: 64 << 10,
        incarnation: Incarnation::random(),
    }
}
/// The pristine node n0 as n1 reaches it.
struct Served {
    _dir: TempDir,
    replica: Replica,
    server: PeerServer<TokioRuntime>,
    envelope: Option<pb::Envelope>,
}

async fn served() -> Served {
    served_on(Arc::new(FlushThread::start().unwrap())).await
}

async fn served_on(scheduler: Arc<dyn FlushScheduler>) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let identity = identity("n0");
    let options = LogOptions {
        segment_size: identity.segment_size,
        interval: None,
        scheduler,
        background: Arc::new(BackgroundThread::start().unwrap()),
    };
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path().join("g"), identity.clone(), options).unwrap();
    let (floor, purge_floor) = PurgeFloor::new(log.reader());
    let transport = Arc::new(GrpcTransport::new(GrpcOptions::default()));
    let network = PeerNetwork::new(
        identity.clone(),
        transport,
        "h:0".into(),
        Duration::ZERO,
        purge_floor,
        MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), Arc::new(|_| true), true),
    );
    let config = Config::new(identity.node.clone(), "127.0.0.1:0");
    let probe = Arc::new(ReadQuorum::<TokioRuntime>::new(network.clone()));
    let votes = Arc::new(PeerVoteCollector::<TokioRuntime>::new(network.clone()));
    let (acks, standing) = (network.acknowledged(), network.standing());
    let (clock, ticker) = (Arc::new(|| 0), &Ticker::new(&config));
    let options = ReplicaOptions { config: &config, log, clock, floor, ticker, probe, acks, standing, votes };
    let (replica, raft) = replica::start::<TokioRuntime, _>(options, network.clone()).await.unwrap();
    let watch = LeaderWatch::start(&replica, network, raft.clone(), true);
    let server = PeerServer::new(replica.identity.clone(), "h:0".into(), PEERS.into(), &replica, raft, watch);
    let envelope = Some(envelope(&self::identity("n1"), &identity.node, Some(identity.incarnation)));
    Served { _dir: dir, replica, server, envelope }
}

impl Served {
    /// The request was refused for what it says, and the node still answers.
    async fn refuses<T: std::fmt::Debug>(&self, answer: Result<T, pb::Refusal>, found: &str) {
        let refusal = answer.expect_err("it was heard");
        assert_eq!(refusal.reason(), Reason::Malformed, "{refusal:?}");
        assert!(refusal.found.contains(found), "{refusal:?}");
        // Raft answers this only after everything before it.
        self.replica.raft.is_pristine().await.expect("a message from the network ended the node");
        assert!(!matches!(*self.replica.role.borrow(), Role::Closed { .. }));
    }

    /// As a heartbeat and as a message of a stream: the same is refused.
    async fn refuses_append(&self, request: pb::AppendRequest, found: &str) {
        let request = pb::AppendRequest { envelope: self.envelope.clone(), ..request };
        self.refuses(self.server.heartbeat(request.clone()).await, found).await;
        let first = self.envelope.clone().unwrap();
        let mut answers = self.server.replicate(first, stream::iter([Ok(request)]).boxed()).await.unwrap();
        self.refuses(answers.next().await.unwrap(), found).await;
        assert!(answers.next().await.is_none());
    }

    async fn append(&self, request: pb::AppendRequest) -> pb::append_response::Result {
        let request = pb::AppendRequest { envelope: self.envelope.clone(), ..request };
        self.server.heartbeat(request).await.unwrap().result.unwrap()
    }

    /// The disk of the caller.
    fn sender_disk(&self) -> Bytes {
        self.envelope.clone().unwrap().sender_incarnation
    }

    fn snapshot(&self, term: u64, last: pb::LogId) -> pb::SnapshotRequest {
        let member = pb::Member { id: "n1".into(), address: "h:1".into(), incarnation: self.sender_disk() };
        let voters = pb::Voters { ids: vec!["n1".into()] };
        let membership =
            pb::Membership { configs: vec![voters], members: vec![member], cluster_incarnation: vec![7; 16].into() };
        pb::SnapshotRequest {
            envelope: self.envelope.clone(),
            vote: vote(term, "n1", true),
            last_log_id: Some(last),
            membership: Some(pb::StoredMembership { log_id: id(0, 0), membership: Some(membership) }),
            start: Some(pb::LogStart { position: (64 << 10) + 80, index: 10, chain: 0, timestamp: 0 }),
            ..Default::default()
        }
    }
}

fn vote(term: u64, node: &str, committed: bool) -> Option<pb::Vote> {
    Some(pb::Vote { term, node: node.into(), committed })
}

fn id(term: u64, number: u64) -> Option<pb::LogId> {
    Some(pb::LogId { term, number })
}

/// Blank entries of these terms, from `first` on.
fn frames(first: u64, terms: &[u64]) -> Bytes {
    entries(first, terms.iter().map(|term| (*term, Draft::control(EntryKind::Blank, b""))))
}

/// Entries of these terms, from `first` on.
fn entries(first: u64, drafts: impl IntoIterator<Item = (u64, Draft)>) -> Bytes {
    let (mut all, mut position, mut previous) = (Vec::new(), 80, identity("n0").chain_seed());
    for (number, (term, draft)) in (first..).zip(drafts) {
        let header = EntryHeader {
            position,
            number,
            term,
            index: 0,
            committed: 0,
            timestamp: 0,
            records: 0,
            kind: draft.kind,
            body: draft.body_length(),
            previous,
            chain: 0,
        };
        let frame = draft.seal(header);
        (position, previous) = (frame.header.end(), frame.header.chain);
        all.extend_from_slice(&frame.bytes);
    }
    all.into()
}

#[tokio::test]
async fn only_a_leader_leads_and_only_a_candidate_asks_for_votes() {
    let n0 = served().await;
    n0.refuses_append(pb::AppendRequest { vote: vote(3, "n1", false), ..Default::default() }, "not granted").await;
    let request = pb::VoteRequest { envelope: n0.envelope.clone(), vote: vote(3, "n1", true), ..Default::default() };
    n0.refuses(n0.server.request_vote(request.clone()).await, "granted already").await;
    n0.refuses(n0.server.pre_vote(request).await, "granted already").await;
    let request = n0.snapshot(3, pb::LogId { term: 1, number: 10 });
    let request = pb::SnapshotRequest { vote: vote(3, "n1", false), ..request };
    n0.refuses(n0.server.install_snapshot(request).await, "not granted").await;
    let from = vote(3, "n1", false);
    let request = pb::TransferRequest { envelope: n0.envelope.clone(), from, to: "n0".into(), ..Default::default() };
    n0.refuses(n0.server.transfer_leader(request).await, "not granted").await;
}

#[tokio::test]
async fn a_term_or_number_that_leaves_no_room_for_a_next_one_is_refused() {
    let n0 = served().await;
    let request = |term, last_log_id| {
        let vote = vote(term, "n1", false);
        pb::VoteRequest { envelope: n0.envelope.clone(), vote, last_log_id, leadership_transfer: false }
    };
    n0.refuses(n0.server.request_vote(request(u64::MAX, None)).await, "term").await;
    n0.refuses(n0.server.request_vote(request(LARGEST + 1, None)).await, "term").await;
    n0.refuses(n0.server.request_vote(request(5, id(1, LARGEST + 1))).await, "number").await;
    let append = |previous, committed| {
        let vote = vote(5, "n1", true);
        pb::AppendRequest { vote, previous, committed, ..Default::default() }
    };
    n0.refuses_append(append(id(1, u64::MAX), None), "number").await;
    n0.refuses_append(append(None, id(1, u64::MAX)), "number").await;
    let frames = frames(0, &[LARGEST + 1]);
    n0.refuses_append(pb::AppendRequest { frames, ..append(None, None) }, "term").await;
    let last = pb::LogId { term: 5, number: u64::MAX };
    n0.refuses(n0.server.install_snapshot(n0.snapshot(5, last)).await, "number").await;
}

#[tokio::test]
async fn terms_do_not_fall_nor_rise_above_the_leaders() {
    let n0 = served().await;
    let append = |previous, committed, frames| {
        let vote = vote(5, "n1", true);
        pb::AppendRequest { vote, previous, committed, frames, ..Default::default() }
    };
    n0.refuses_append(append(None, None, frames(0, &[2, 1])), "1.1").await;
    n0.refuses_append(append(id(3, 8), None, frames(9, &[2])), "2.9").await;
    n0.refuses_append(append(None, None, frames(0, &[5, 6])), "6.1").await;
    n0.refuses_append(append(id(6, 8), None, Bytes::new()), "6.8").await;
    n0.refuses_append(append(None, id(6, 8), Bytes::new()), "6.8").await;
    let request = pb::VoteRequest {
        envelope: n0.envelope.clone(),
        vote: vote(5, "n1", false),
        last_log_id: id(6, 1),
        leadership_transfer: false,
    };
    n0.refuses(n0.server.request_vote(request).await, "6.1").await;
}

#[tokio::test]
async fn a_snapshot_says_where_the_log_begins_and_with_whom() {
    let n0 = served().await;
    let last = pb::LogId { term: 5, number: 10 };
    n0.refuses(n0.server.install_snapshot(n0.snapshot(1, last)).await, "5.10").await;
    let request = pb::SnapshotRequest { membership: None, ..n0.snapshot(5, last) };
    n0.refuses(n0.server.install_snapshot(request).await, "membership").await;
    let place = |position, index| Some(pb::LogStart { position, index, chain: 0, timestamp: 0 });
    for start in [None, place(3, 10), place(160, 10), place((64 << 10) + 80, 64 << 10)] {
        let request = pb::SnapshotRequest { start, ..n0.snapshot(5, last) };
        n0.refuses(n0.server.install_snapshot(request).await, "").await;
    }
    let mut request = n0.snapshot(5, last);
    request.membership.as_mut().unwrap().log_id = id(5, 11);
    n0.refuses(n0.server.install_snapshot(request).await, "11").await;
    // The same without a flaw.
    n0.server.install_snapshot(n0.snapshot(5, last)).await.unwrap();
    assert_eq!(n0.replica.log.purged().unwrap().number, 10);
}

#[tokio::test]
async fn nothing_contradicts_what_is_committed() {
    let n0 = served().await;
    let append = |term, previous, committed, frames| {
        let vote = vote(term, "n1", true);
        pb::AppendRequest { vote, previous, committed, frames, ..Default::default() }
    };
    let matched = |id| pb::append_response::Result::Matched(pb::Matched { last: id });
    let answer = n0.append(append(1, None, id(1, 3), frames(0, &[1, 1, 1, 1, 1]))).await;
    assert_eq!(answer, matched(id(1, 4)));
    // The leader of another term: its commit is lower, but by its term it would seem higher.
    assert_eq!(n0.replica.standing.contradiction(), None);
    n0.refuses_append(append(2, id(1, 4), id(2, 2), Bytes::new()), "2.2").await;
    // A contradiction does not pass by itself, so the operator must learn of it.
    let told = n0.replica.standing.contradiction().unwrap();
    assert!(told.contains("the master n1 has another history") && told.contains("2.2"), "{told}");
    // A leader that names no entry of that term has shown nothing.
    n0.append(append(2, None, None, Bytes::new())).await;
    assert!(n0.replica.standing.contradiction().is_some());
    n0.refuses_append(append(2, id(2, 2), None, Bytes::new()), "2.2").await;
    n0.refuses_append(append(2, id(1, 1), None, frames(2, &[2])), "2.2").await;
    n0.refuses(n0.server.install_snapshot(n0.snapshot(2, pb::LogId { term: 2, number: 3 })).await, "2.3").await;
    // A snapshot from before the last committed entry changes nothing.
    let answer = n0.server.install_snapshot(n0.snapshot(2, pb::LogId { term: 1, number: 2 })).await.unwrap();
    assert_eq!(answer.vote, vote(2, "n1", true));
    assert_eq!(n0.replica.log.purged(), None);
    assert_eq!(n0.append(append(2, id(1, 4), id(1, 4), Bytes::new())).await, matched(id(1, 4)));
    assert_eq!(n0.replica.standing.contradiction(), None);
}

impl Served {
    async fn identify(&self, disk: u8, peers: &str) -> Result<pb::IdentifyResponse, pb::Refusal> {
        let mut envelope = self.envelope.clone().unwrap();
        envelope.sender_incarnation = vec![disk; 16].into();
        let segment_size = self.replica.identity.segment_size;
        let request = pb::IdentifyRequest { envelope: Some(envelope), segment_size, peers: peers.into(), join: false };
        self.server.identify(request).await
    }
}

#[tokio::test]
async fn an_empty_node_is_formed_only_by_who_has_its_peer_list() {
    let n0 = served().await;
    for other in ["", "n0=h:0", "n0=h:0;n1=h:2", "n0=h:0;n1=h:1;n2=h:2"] {
        let refusal = n0.identify(1, other).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::Peers);
        assert_eq!((&*refusal.found, &*refusal.expected), (other, PEERS));
    }
    assert!(n0.identify(1, PEERS).await.unwrap().empty);
}

#[tokio::test]
async fn an_empty_node_promises_itself_to_the_first_that_asks() {
    let n0 = served().await;
    assert!(n0.identify(1, PEERS).await.unwrap().empty);
    let refusal = n0.identify(2, PEERS).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::Peers, "{refusal:?}");
    assert!(n0.identify(1, PEERS).await.unwrap().empty);
    // Once n0 is not empty it says so to all: nobody can form a cluster with it.
    n0.append(pb::AppendRequest { vote: vote(1, "n1", true), frames: frames(0, &[1]), ..Default::default() }).await;
    assert!(!n0.identify(2, "n0=h:0").await.unwrap().empty);
}

#[tokio::test]
async fn a_read_index_is_given_by_the_leader_and_only_for_a_proof_it_knows() {
    let n0 = served().await;
    let ask = async |proof, within_ms| {
        let request = pb::ReadIndexRequest { envelope: n0.envelope.clone(), proof, within_ms };
        n0.server.read_index(request).await
    };
    for unknown in [0, 3, -1, i32::MAX] {
        n0.refuses(ask(unknown, 100).await, "proof").await;
    }
    for proof in [1, 2] {
        assert_eq!(ask(proof, u64::MAX).await.unwrap_err().reason(), Reason::NotLeader);
    }
    let own = n0.replica.identity.clone();
    let member = crate::types::Member { id: own.node, address: "h:0".into(), incarnation: own.incarnation };
    n0.replica.raft.initialize(vec![member], Incarnation::random()).await.unwrap();
    let mut role = n0.replica.role.clone();
    role.wait_for(Role::is_master).await.unwrap();
    for proof in [1, 2] {
        let number = ask(proof, u64::MAX).await.unwrap().number;
        assert_eq!(number + 1, n0.replica.log.progress().commit_point().number);
    }
    let stranger = pb::ReadIndexRequest { envelope: None, proof: 1, within_ms: 1 };
    assert_eq!(n0.server.read_index(stranger).await.unwrap_err().reason(), Reason::Malformed);
}

/// Entries 0 and 1 are memberships: n1 and n2, then n1 alone. The disk of node n is 16 times n, at `h:n`.
fn memberships() -> Bytes {
    let member = |n: u8| pb::Member { id: format!("n{n}"), address: format!("h:{n}"), incarnation: vec![n; 16].into() };
    let of = |members: &[u8]| {
        let members: Vec<_> = members.iter().map(|n| member(*n)).collect();
        let voters = pb::Voters { ids: members.iter().map(|member| member.id.clone()).collect() };
        let body = pb::Membership { configs: vec![voters], members, ..Default::default() }.encode_to_vec();
        (1, Draft::control(EntryKind::Membership, &body))
    };
    entries(0, [of(&[1, 2]), of(&[1])])
}

#[tokio::test]
async fn a_member_has_its_own_disk_and_address_or_knows_a_later_membership() {
    let n0 = served().await;
    let knock = async |node: u8, disk: u8, address: &str, membership| {
        let envelope = pb::Envelope {
            sender: format!("n{node}"),
            sender_incarnation: vec![disk; 16].into(),
            sender_address: address.into(),
            membership,
            ..n0.envelope.clone().unwrap()
        };
        let vote = vote(9, &format!("n{node}"), false);
        n0.server.pre_vote(pb::VoteRequest { envelope: Some(envelope), vote, ..Default::default() }).await
    };
    // Nothing is known yet: anybody may be a member.
    knock(2, 7, "h:7", None).await.unwrap();
    let mut leader = pb::AppendRequest { vote: vote(1, "n1", true), frames: memberships(), ..Default::default() };
    leader.envelope = Some(pb::Envelope { sender_incarnation: vec![1; 16].into(), ..n0.envelope.clone().unwrap() });
    n0.server.heartbeat(leader.clone()).await.unwrap();

    for own in [id(1, 1), None] {
        knock(1, 1, "h:1", own).await.unwrap();
        // A tool names no address.
        knock(1, 1, "", own).await.unwrap();
        let copy = knock(1, 1, "h:9", own).await.unwrap_err();
        assert_eq!(copy.reason(), Reason::Sender);
        assert!(copy.found.ends_with("at h:9") && copy.expected.contains("h:1"), "{copy:?}");
        let grave = knock(1, 7, "h:1", own).await.unwrap_err();
        assert_eq!(grave.reason(), Reason::Sender, "{grave:?}");
        let removed = knock(2, 2, "h:2", own).await.unwrap_err();
        assert!(removed.expected.contains("removed from the cluster"), "{removed:?}");
        // That membership may never be committed.
        assert!(!removed.removed, "{removed:?}");
        // The caller may be a member by an entry that is not here yet.
        knock(3, 3, "h:3", own).await.unwrap();
    }
    // The caller acts by a later membership: this node is behind.
    for later in [id(1, 2), id(2, 0)] {
        knock(1, 7, "h:9", later).await.unwrap();
    }
    leader = pb::AppendRequest { previous: id(1, 1), committed: id(1, 1), frames: Bytes::new(), ..leader };
    n0.server.heartbeat(leader).await.unwrap();
    let committed = |metrics: &openraft::RaftMetrics<_>| metrics.local_committed.is_some_and(|id| id.index == 1);
    n0.server.intake.raft.wait(None).metrics(committed, "committed").await.unwrap();
    for own in [id(1, 1), None] {
        let removed = knock(2, 2, "h:2", own).await.unwrap_err();
        assert!(removed.removed, "{removed:?}");
    }
}

#[tokio::test]
async fn a_cluster_of_the_same_name_and_another_incarnation_is_refused_by_it() {
    let n0 = served().await;
    let voters = pb::Voters { ids: vec!["n1".into()] };
    let own = Bytes::from(n0.replica.identity.incarnation.to_bytes().to_vec());
    let member = |id: &str, incarnation| pb::Member { id: id.into(), address: "h:1".into(), incarnation };
    let members = vec![member("n0", own), member("n1", n0.sender_disk())];
    let cluster_incarnation = Bytes::from(vec![5; 16]);
    let membership = pb::Membership { configs: vec![voters], members, cluster_incarnation };
    let draft = Draft::control(EntryKind::Membership, &membership.encode_to_vec());
    let leader =
        pb::AppendRequest { vote: vote(1, "n1", true), frames: entries(0, [(1, draft)]), ..Default::default() };
    n0.append(leader).await;
    let knock = async |cluster: &[u8]| {
        let cluster_incarnation = Bytes::copy_from_slice(cluster);
        let envelope = pb::Envelope { cluster_incarnation, ..n0.envelope.clone().unwrap() };
        let vote = vote(9, "n1", false);
        n0.server.pre_vote(pb::VoteRequest { envelope: Some(envelope), vote, ..Default::default() }).await
    };
    // Not every caller has a membership.
    knock(&[]).await.unwrap();
    knock(&[5; 16]).await.unwrap();
    let other = knock(&[6; 16]).await.unwrap_err();
    assert_eq!(other.reason(), Reason::Cluster);
    let name = |byte: u8| Incarnation::from_slice(&[byte; 16]).unwrap().to_string();
    assert!(other.found.contains(&name(6)) && other.expected.contains(&name(5)), "{other:?}");
}

mod backlog;
mod callers;
mod closed;
mod reminders;
