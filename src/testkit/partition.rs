//! Which nodes hear each other, and the transport that obeys it.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::transport::{Answer, AnswerStream, Lane, Link, Transport, TransportError, unary_calls};
use crate::wire::pb;

/// How long until a stream whose packets are lost breaks, 1 s: it stands for the stall timeout, so that tests need not
/// wait that out.
const STALL: Duration = Duration::from_secs(1);

/// The nodes of one side, by their addresses: they and all others do not hear each other.
#[derive(Clone, Default)]
pub(super) struct Partition {
    side: Arc<watch::Sender<HashSet<String>>>,
}

impl Partition {
    pub(super) fn set(&self, side: HashSet<String>) {
        self.side.send_replace(side);
    }

    /// Whether the two do not hear each other.
    pub(super) fn cuts(&self, one: &str, other: &str) -> bool {
        apart(&self.side.borrow(), one, other)
    }

    /// Changes with the partition.
    pub(super) fn watch(&self) -> watch::Receiver<HashSet<String>> {
        self.side.subscribe()
    }
}

fn apart(side: &HashSet<String>, one: &str, other: &str) -> bool {
    side.contains(one) != side.contains(other)
}

/// The way from one node to another.
#[derive(Clone)]
struct PeerPath {
    own: String,
    peer: String,
    partition: Partition,
}

impl PeerPath {
    /// Resolves once the two do not hear each other, which may be now.
    async fn cut(&self) {
        self.until(true).await;
    }

    /// Resolves once they do.
    async fn healed(&self) {
        self.until(false).await;
    }

    async fn until(&self, cut: bool) {
        let mut side = self.partition.watch();
        // It cannot fail: `self` holds the sender.
        let _ = side.wait_for(|side| apart(side, &self.own, &self.peer) == cut).await;
    }
}

/// The transport of one node, as far as the partition lets it reach.
pub(super) struct PartitionedTransport {
    wire: Arc<dyn Transport>,
    own: String,
    partition: Partition,
}

impl PartitionedTransport {
    /// `own`: the address of the node.
    pub(super) fn new(wire: Arc<dyn Transport>, own: String, partition: Partition) -> Self {
        Self { wire, own, partition }
    }
}

impl Transport for PartitionedTransport {
    fn link(&self, address: &str, lane: Lane) -> Arc<dyn Link> {
        let path = PeerPath { own: self.own.clone(), peer: address.to_owned(), partition: self.partition.clone() };
        Arc::new(PartitionedLink { link: self.wire.link(address, lane), path })
    }

    fn nobody_listens(&self, address: &str) -> BoxFuture<'static, bool> {
        if self.partition.cuts(&self.own, address) {
            // Silence says nothing.
            return async { false }.boxed();
        }
        self.wire.nobody_listens(address)
    }
}

struct PartitionedLink {
    link: Arc<dyn Link>,
    path: PeerPath,
}

impl PartitionedLink {
    /// The answer to `call`. Once the two do not hear each other the answer is lost, and the call fails after
    /// `timeout`.
    fn heard<'a, T: Send + 'a>(&'a self, timeout: Duration, call: Answer<'a, T>) -> Answer<'a, T> {
        let end = Instant::now() + timeout;
        async move {
            tokio::select! {
                biased;
                () = self.path.cut() => {}
                answer = call => return answer,
            }
            tokio::time::sleep_until(end).await;
            Err(TransportError::Timeout { address: self.path.peer.clone(), after: timeout })
        }
        .boxed()
    }
}

macro_rules! heard {
    ($($name:ident: $request:ident -> $answer:ident;)*) => {$(
        fn $name(&self, request: pb::$request, timeout: Duration) -> Answer<'_, pb::$answer> {
            self.heard(timeout, self.link.$name(request, timeout))
        }
    )*};
}

impl Link for PartitionedLink {
    unary_calls!(heard);

    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        let requests = sent(requests, self.path.clone());
        async move {
            let opened = tokio::select! {
                biased;
                () = self.path.cut() => Err(lost(&self.path).await),
                opened = self.link.replicate(requests) => opened,
            };
            Ok(answered(opened?, self.path.clone()))
        }
        .boxed()
    }
}

/// The requests that get through; the peer does not notice that there are no more.
fn sent(requests: BoxStream<'static, pb::AppendRequest>, path: PeerPath) -> BoxStream<'static, pb::AppendRequest> {
    let next = |(mut requests, path): (BoxStream<'static, _>, PeerPath)| async move {
        tokio::select! {
            biased;
            () = path.cut() => pending().await,
            request = requests.next() => request.map(|request| (request, (requests, path))),
        }
    };
    stream::unfold((requests, path), next).boxed()
}

/// The answers that get through, and then that the stream is broken.
fn answered(answers: AnswerStream, path: PeerPath) -> AnswerStream {
    let next = |(answers, path): (Option<AnswerStream>, PeerPath)| async move {
        let mut answers = answers?;
        tokio::select! {
            biased;
            // Holds the answers meanwhile: to drop them would tell the peer.
            () = path.cut() => Some((Err(lost(&path).await), (None, path))),
            answer = answers.next() => answer.map(|answer| (answer, (Some(answers), path))),
        }
    };
    stream::unfold((Some(answers), path), next).boxed()
}

/// How a stream ends whose packets are lost: after a while, or when the two hear each other again.
async fn lost(path: &PeerPath) -> TransportError {
    // The stream is broken either way.
    let _ = tokio::time::timeout(STALL, path.healed()).await;
    TransportError::Broken { address: path.peer.clone(), reason: "the nodes are cut off from each other".into() }
}
