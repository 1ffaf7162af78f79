//! What a caller does about a peer that is down, or refuses.

use futures::FutureExt;

use super::*;
use crate::raft::TokioRuntime;
use crate::rpc::fetch;
use crate::rpc::transport::{Answer, AnswerStream};

/// A peer that is down.
struct Down;

fn down<'a, T: Send + 'a>() -> Answer<'a, T> {
    future::ready(Err(TransportError::Unreachable { address: "n1:1".into(), reason: "it is down".into() })).boxed()
}

impl Transport for Down {
    fn link(&self, _: &str, _: Lane) -> Arc<dyn Link> {
        Arc::new(Down)
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
        down()
    }
    fn pre_vote(&self, _: pb::VoteRequest, _: Duration) -> Answer<'_, pb::VoteResponse> {
        down()
    }
    fn heartbeat(&self, _: pb::AppendRequest, _: Duration) -> Answer<'_, pb::AppendResponse> {
        down()
    }
    fn install_snapshot(&self, _: pb::SnapshotRequest, _: Duration) -> Answer<'_, pb::SnapshotResponse> {
        down()
    }
    fn transfer_leader(&self, _: pb::TransferRequest, _: Duration) -> Answer<'_, pb::TransferResponse> {
        down()
    }
    fn fetch_entries(&self, _: pb::FetchRequest, _: Duration) -> Answer<'_, pb::FetchResponse> {
        down()
    }
    fn read_index(&self, _: pb::ReadIndexRequest, _: Duration) -> Answer<'_, pb::ReadIndexResponse> {
        down()
    }
    fn replicate(&self, _: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        down()
    }
}

#[test]
fn a_dead_peer_is_left_alone_until_openraft_has_a_request_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = fetch::tests::open(dir.path());
    let mut client = PeerClient::<TokioRuntime> {
        envelope: pb::Envelope::default(),
        transport: Arc::new(Down),
        addresses: Addresses::default(),
        target: NodeId::new(1),
        node: MemberNode::default(),
        heartbeat: false,
        lease_window: 0,
        refusals: Arc::default(),
        floor: PurgeFloor::new(log.reader()).1,
        acked: Acknowledged::new(Arc::new(|_| None), true),
        pace: Pace::default(),
        _runtime: PhantomData,
    };
    // The back-off: no request yet.
    let requests = stream::pending::<AppendEntriesRequest<TypeConfig<TokioRuntime>>>();
    let called = client.stream_append(requests, RPCOption::new(Duration::from_secs(1))).now_or_never();
    assert!(called.is_none(), "it called the peer without waiting for a request");
}
