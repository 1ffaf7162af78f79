//! What a caller sends to a peer, and what it does about a peer that is down.

use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;

use super::*;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::log::reader::LogReader;
use crate::peer::fetch;
use crate::raft::TokioRuntime;
use crate::raft::log_id::log_id;
use crate::raft::membership::codec::{SnapshotMeta, StoredMembership};
use crate::transport::{Answer, AnswerStream};

/// A peer that is down, and the reminders that it would have got. Or, if so set, a peer that sends malformed answers.
#[derive(Clone, Default)]
struct Down(Arc<Mutex<Vec<Option<u64>>>>, bool);

impl Down {
    fn would_hear(&self, acknowledged: Option<pb::LogId>) {
        self.0.lock().push(acknowledged.map(|id| id.number));
    }
}

fn down<'a, T: Send + 'a>() -> Answer<'a, T> {
    future::ready(Err(TransportError::Unreachable { address: "n1:1".into(), reason: "it is down".into() })).boxed()
}

impl Down {
    fn answer<'a, T: Default + Send + 'a>(&self) -> Answer<'a, T> {
        if self.1 { future::ready(Ok(T::default())).boxed() } else { down() }
    }
}

impl Transport for Down {
    fn link(&self, _: &str, _: Lane) -> Arc<dyn Link> {
        Arc::new(self.clone())
    }
    fn nobody_listens(&self, _: &str) -> BoxFuture<'static, bool> {
        future::ready(true).boxed()
    }
}

impl Link for Down {
    fn identify(&self, _: pb::IdentifyRequest, _: Duration) -> Answer<'_, pb::IdentifyResponse> {
        down()
    }
    fn request_vote(&self, _: pb::VoteRequest, _: Duration) -> Answer<'_, pb::VoteResponse> {
        self.answer()
    }
    fn pre_vote(&self, _: pb::VoteRequest, _: Duration) -> Answer<'_, pb::VoteResponse> {
        self.answer()
    }
    fn heartbeat(&self, request: pb::AppendRequest, _: Duration) -> Answer<'_, pb::AppendResponse> {
        self.would_hear(request.acknowledged);
        self.answer()
    }
    fn install_snapshot(&self, request: pb::SnapshotRequest, _: Duration) -> Answer<'_, pb::SnapshotResponse> {
        self.would_hear(request.acknowledged);
        self.answer()
    }
    fn transfer_leader(&self, request: pb::TransferRequest, _: Duration) -> Answer<'_, pb::TransferResponse> {
        self.would_hear(request.acknowledged);
        down()
    }
    fn fetch_entries(&self, _: pb::FetchRequest, _: Duration) -> Answer<'_, pb::FetchResponse> {
        down()
    }
    fn read_index(&self, _: pb::ReadIndexRequest, _: Duration) -> Answer<'_, pb::ReadIndexResponse> {
        down()
    }
    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        let requests: Vec<_> = requests.collect().now_or_never().unwrap();
        requests.iter().for_each(|request| self.would_hear(request.acknowledged));
        if self.1 {
            let garbled = requests.into_iter().map(|_| Ok(pb::AppendResponse::default()));
            let garbled = stream::iter(garbled.collect::<Vec<_>>()).boxed();
            return future::ready(Ok(garbled)).boxed();
        }
        down()
    }
}

fn client(heartbeat: bool, peer: Down, log: LogReader) -> PeerClient<TokioRuntime> {
    PeerClient {
        envelope: pb::Envelope::default(),
        transport: Arc::new(peer),
        addresses: Addresses::default(),
        target: NodeId::new(1),
        node: MemberNode::default(),
        heartbeat,
        lease_window: 0,
        outcomes: Arc::default(),
        floor: PurgeFloor::new(log).1,
        acked: MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), Arc::new(|_| true), true),
        saves: VoteSaves::default(),
        restarts: RestartBackoff::default(),
        _runtime: PhantomData,
    }
}

#[test]
fn a_dead_peer_is_left_alone_until_openraft_has_a_request_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = fetch::tests::open(dir.path());
    let mut client = client(false, Down::default(), log.reader());
    // The back-off: no request yet.
    let requests = stream::pending::<AppendEntriesRequest<TypeConfig<TokioRuntime>>>();
    let called = client.stream_append(requests, RPCOption::new(Duration::from_secs(1))).now_or_never();
    assert!(called.is_none(), "it called the peer without waiting for a request");
}

/// A node of an older version refuses wire version 2 by its number, and so never meets an entry that it cannot read.
#[test]
fn who_may_have_a_roll_in_its_log_calls_with_the_version_that_has_rolls() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = fetch::tests::open(dir.path());
    let client = client(false, Down::default(), log.reader());
    log.append_draft(Draft::batch(&["a"]), 1, 0).unwrap();
    assert_eq!(client.envelope().wire_version, 1);
    log.append_draft(Draft::control(EntryKind::Roll, b""), 1, 0).unwrap();
    assert_eq!(client.envelope().wire_version, 2);
}

/// A stream carries it once: it does not change while the stream lasts.
#[tokio::test]
async fn whatever_is_said_first_to_a_member_says_what_it_has_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let log = fetch::tests::open(dir.path());
    let (peer, leader) = (Down::default(), RaftVote::new_committed(3, NodeId::new(0)));
    let option = || RPCOption::new(Duration::from_secs(1));
    let append = || {
        let (vote, prev_log_id) = (leader.clone(), None);
        AppendEntriesRequest::<TypeConfig<TokioRuntime>> { vote, prev_log_id, entries: vec![], leader_commit: None }
    };
    for heartbeat in [true, false] {
        let mut client = client(heartbeat, peer.clone(), log.reader());
        client.acked.note(&leader, (&NodeId::new(1), client.node.incarnation), log_id(3, 7));
        assert!(client.stream_append(stream::iter([append(), append()]), option()).await.is_err());
        let meta = SnapshotMeta { last_log_id: Some(log_id(2, 5)), last_membership: StoredMembership::default() };
        let snapshot = Snapshot { meta, snapshot: None };
        assert!(client.full_snapshot(leader.clone(), snapshot, future::pending(), option()).await.is_err());
        let transfer = TransferLeaderRequest::new(leader.clone(), NodeId::new(1), None);
        assert!(client.transfer_leader(transfer, option()).await.is_err());
    }
    let (heartbeat, [first, second], snapshot, transfer) = (Some(7), [Some(7), None], Some(7), Some(7));
    let said = [heartbeat, snapshot, transfer, first, second, snapshot, transfer];
    assert_eq!(*peer.0.lock(), said);
}

#[tokio::test]
async fn every_answer_that_makes_no_sense_is_counted_and_none_is_told_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = fetch::tests::open(dir.path());
    let option = || RPCOption::new(Duration::from_secs(1));
    let leader = RaftVote::new_committed(3, NodeId::new(0));
    let mut counted = Vec::new();
    for heartbeat in [true, false] {
        let mut client = client(heartbeat, Down(Arc::default(), true), log.reader());
        let request = AppendEntriesRequest::<TypeConfig<TokioRuntime>> {
            vote: leader.clone(),
            prev_log_id: None,
            entries: vec![],
            leader_commit: None,
        };
        if let Ok(mut answers) = client.stream_append(stream::iter([request]), option()).await {
            assert!(answers.next().await.unwrap().is_err());
        }
        counted.push(client.outcomes.outages.garbled());
        let vote = VoteRequest::new(leader.clone(), None);
        assert!(client.vote(vote.clone(), option()).await.is_err() && client.pre_vote(vote, option()).await.is_err());
        let meta = SnapshotMeta { last_log_id: Some(log_id(2, 5)), last_membership: StoredMembership::default() };
        let snapshot = Snapshot { meta, snapshot: None };
        assert!(client.full_snapshot(leader.clone(), snapshot, future::pending(), option()).await.is_err());
        counted.push(client.outcomes.outages.garbled());
    }
    assert_eq!(counted, [1, 4, 1, 4]);
}
