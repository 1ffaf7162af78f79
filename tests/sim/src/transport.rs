//! The wire between simulated nodes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use openraft::{AsyncRuntime, Instant};
use openraft_rt_sim::{SimInstant, SimRuntime};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use super::network::{Connection, Fate, SimNetwork};
use dledger::seams::{Answer, AnswerStream, Lane, Link, Router, Transport, TransportError, pb};

/// What one life of a node calls its peers with.
pub(crate) struct SimTransport {
    pub(crate) network: SimNetwork,
    /// Address of the node.
    pub(crate) from: String,
    pub(crate) life: u64,
    pub(crate) stall: Duration,
}

impl Transport for SimTransport {
    fn link(&self, address: &str, _: Lane) -> Arc<dyn Link> {
        let (network, from) = (self.network.clone(), self.from.clone());
        Arc::new(SimLink(Arc::new(Route { network, from, to: address.to_owned(), life: self.life, stall: self.stall })))
    }

    fn nobody_listens(&self, address: &str) -> BoxFuture<'static, bool> {
        let (network, from, to) = (self.network.clone(), self.from.clone(), address.to_owned());
        let asked = async move {
            let after = network.world().round_trip();
            SimRuntime::sleep(after).await;
            network.world().refuses(&from, &to)
        };
        asked.boxed()
    }
}

struct SimLink(Arc<Route>);

/// From where to where.
struct Route {
    network: SimNetwork,
    from: String,
    to: String,
    /// Of the caller.
    life: u64,
    stall: Duration,
}

impl Route {
    fn unreachable(&self, reason: &str) -> TransportError {
        TransportError::Unreachable { address: self.to.clone(), reason: reason.into() }
    }

    fn broken(&self, reason: &str) -> TransportError {
        TransportError::Broken { address: self.to.clone(), reason: reason.into() }
    }

    fn refused(&self, refusal: pb::Refusal) -> TransportError {
        TransportError::Refused { address: self.to.clone(), refusal }
    }

    fn check_alive(&self) -> Result<(), TransportError> {
        let alive = self.network.world().lives(&self.from, self.life);
        if alive { Ok(()) } else { Err(self.unreachable("the caller is dead")) }
    }

    /// Delivers a message to the node that listens there; a lost message never arrives.
    async fn hop(&self, what: &str, content: &[u8]) -> Result<(u64, Arc<Router>), TransportError> {
        self.check_alive()?;
        let fate = self.network.world().send(&self.from, &self.to, what, content);
        match fate {
            Fate::Arrives(after) => SimRuntime::sleep(after).await,
            Fate::Lost => std::future::pending().await,
        }
        self.network.arrived();
        self.network.world().router(&self.to).ok_or_else(|| self.unreachable("connection refused"))
    }

    async fn answer(&self, what: &str, content: &[u8], life: u64) -> Result<(), TransportError> {
        if !self.network.world().lives(&self.to, life) {
            return Err(self.broken("the peer died over it"));
        }
        let fate = self.network.world().send(&self.to, &self.from, what, content);
        match fate {
            Fate::Arrives(after) => SimRuntime::sleep(after).await,
            Fate::Lost => std::future::pending().await,
        }
        self.network.arrived();
        self.check_alive()
    }

    async fn unary<T, F>(
        self: Arc<Self>,
        what: &'static str,
        content: Vec<u8>,
        timeout: Duration,
        serve: impl Fn(Arc<Router>) -> F + Send + 'static,
    ) -> Result<T, TransportError>
    where
        T: Message + 'static,
        F: Future<Output = Result<T, pb::Refusal>> + Send + 'static,
    {
        let call = async {
            let (life, router) = self.hop(what, &content).await?;
            let served = serve(router);
            let again = self.network.world().duplicates(what);
            if let Some(after) = again {
                let here = self.clone();
                drop(SimRuntime::spawn(async move {
                    SimRuntime::sleep(after).await;
                    let router = here.network.world().router(&here.to);
                    if let Some((_, router)) = router {
                        // Nobody waits for the second answer.
                        drop(serve(router).await);
                    }
                }));
            }
            let (sender, receiver) = oneshot::channel();
            // A caller that gives up does not stop the peer. It may not wait for the outcome any more.
            drop(SimRuntime::spawn(async move { drop(sender.send(served.await)) }));
            let outcome = receiver.await.map_err(|_| self.broken("the peer's task ended"))?;
            let content = match &outcome {
                Ok(answer) => answer.encode_to_vec(),
                Err(refusal) => refusal.encode_to_vec(),
            };
            self.answer(what, &content, life).await?;
            outcome.map_err(|refusal| self.refused(refusal))
        };
        match SimRuntime::timeout(timeout, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::Timeout { address: self.to.clone(), after: timeout }),
        }
    }

    async fn open(
        self: Arc<Self>,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> Result<AnswerStream, TransportError> {
        let connect = self.hop("open", &[]);
        let Ok(connected) = SimRuntime::timeout(self.stall, connect).await else {
            return Err(TransportError::Timeout { address: self.to.clone(), after: self.stall });
        };
        let (_, router) = connected?;
        let connection =
            self.network.connect(&self.from, &self.to).ok_or_else(|| self.unreachable("connection refused"))?;
        let (counted, asked) = mpsc::unbounded_channel();
        let requests = requests.map(move |request| {
            // Without a reader of answers there is nobody to count for.
            let _ = counted.send(SimInstant::now());
            request
        });
        let to_server = self.pipe(&connection, true, "append", requests.boxed(), pb::AppendRequest::encode_to_vec);
        let here = self.clone();
        let served = async move {
            match router.replicate(to_server).await {
                Ok(replies) => replies.map(move |reply| reply.map_err(|refusal| here.refused(refusal))).boxed(),
                Err(refusal) => stream::iter([Err(here.refused(refusal))]).boxed(),
            }
        };
        let replies = served.flatten_stream().boxed();
        let to_client = self.pipe(&connection, false, "appended", replies, |reply| match reply {
            Ok(answer) => answer.encode_to_vec(),
            Err(refused) => refused.to_string().into_bytes(),
        });
        let to_client = to_client.map(|reply| reply.and_then(|reply| reply)).boxed();
        Ok(self.watched(connection, to_client, asked))
    }

    /// One direction of a stream: messages arrive in order, each after its delay. A lost one breaks the connection, or
    /// lets everything behind it go lost too.
    fn pipe<T: Send + 'static>(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        forth: bool,
        what: &'static str,
        mut messages: BoxStream<'static, T>,
        encode: impl Fn(&T) -> Vec<u8> + Send + 'static,
    ) -> BoxStream<'static, Result<T, TransportError>> {
        let (sender, arriving) = mpsc::unbounded_channel();
        let (route, pumped) = (self.clone(), connection.clone());
        let pump = async move {
            let broken = pumped.broken().fuse();
            futures::pin_mut!(broken);
            let mut last = SimInstant::now();
            loop {
                let next = tokio::select! {
                    biased;
                    () = &mut broken => return,
                    next = messages.next() => next,
                };
                let Some(message) = next else { return };
                let (from, to) = if forth { (&route.from, &route.to) } else { (&route.to, &route.from) };
                let fate = route.network.world().send(from, to, what, &encode(&message));
                match fate {
                    Fate::Arrives(after) => {
                        last = last.max(SimInstant::now() + after);
                        if sender.send((last, message)).is_err() {
                            return;
                        }
                    }
                    Fate::Lost => {
                        if route.network.world().resets() {
                            pumped.break_off();
                        }
                        return broken.await;
                    }
                }
            }
        };
        drop(SimRuntime::spawn(pump));
        let error = self.broken("reset");
        let state = (arriving, connection.clone(), Some(error));
        let network = self.network.clone();
        stream::unfold(state, move |(mut arriving, connection, mut error)| {
            let network = network.clone();
            async move {
                error.as_ref()?;
                let next = async {
                    let (at, message): (SimInstant, T) = arriving.recv().await?;
                    SimRuntime::sleep_until(at).await;
                    network.arrived();
                    Some(message)
                };
                let arrived = tokio::select! {
                    biased;
                    () = connection.broken() => Err(error.take()?),
                    message = next => Ok(message?),
                };
                Some((arrived, (arriving, connection, error)))
            }
        })
        .boxed()
    }

    /// The answers as the caller reads them: they end when they stall, and with them the connection.
    fn watched(
        &self,
        connection: Arc<Connection>,
        answers: AnswerStream,
        asked: mpsc::UnboundedReceiver<SimInstant>,
    ) -> AnswerStream {
        let state = Watched {
            answers,
            asked,
            open: std::collections::VecDeque::new(),
            stalled: Some(self.broken("no progress")),
            stall: self.stall,
            progress: SimInstant::now(),
            _closes: Closes(connection),
        };
        stream::unfold(state, |mut state| async move {
            let answer = state.next().await?;
            Some((answer, state))
        })
        .boxed()
    }
}

/// See [`Route::watched`].
struct Watched {
    answers: AnswerStream,
    asked: mpsc::UnboundedReceiver<SimInstant>,
    /// When the unanswered requests were sent.
    open: std::collections::VecDeque<SimInstant>,
    /// Taken when it has been said.
    stalled: Option<TransportError>,
    stall: Duration,
    progress: SimInstant,
    _closes: Closes,
}

impl Watched {
    async fn next(&mut self) -> Option<Result<pb::AppendResponse, TransportError>> {
        self.stalled.as_ref()?;
        loop {
            while let Ok(at) = self.asked.try_recv() {
                self.open.push_back(at);
            }
            let since = self.open.front().map(|oldest| self.progress.max(*oldest));
            let deadline = since.unwrap_or(SimInstant::now()) + self.stall;
            if let Ok(answer) = SimRuntime::timeout_at(deadline, self.answers.next()).await {
                self.progress = SimInstant::now();
                while let Ok(at) = self.asked.try_recv() {
                    self.open.push_back(at);
                }
                self.open.pop_front();
                if !matches!(answer, Some(Ok(_))) {
                    self.stalled = None;
                }
                return answer;
            }
            if since.is_some() {
                return self.stalled.take().map(Err);
            }
        }
    }
}

/// Breaks the connection when the caller drops the answers.
struct Closes(Arc<Connection>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.break_off();
    }
}

macro_rules! unary {
    ($($name:ident: $request:ident -> $answer:ident;)*) => {$(
        fn $name(&self, request: pb::$request, timeout: Duration) -> Answer<'_, pb::$answer> {
            let content = request.encode_to_vec();
            let serve = move |router: Arc<Router>| {
                let request = request.clone();
                async move { router.route(request.envelope.as_ref())?.$name(request).await }
            };
            self.0.clone().unary(stringify!($name), content, timeout, serve).boxed()
        }
    )*};
}

impl Link for SimLink {
    unary! {
        identify: IdentifyRequest -> IdentifyResponse;
        request_vote: VoteRequest -> VoteResponse;
        pre_vote: VoteRequest -> VoteResponse;
        heartbeat: AppendRequest -> AppendResponse;
        install_snapshot: SnapshotRequest -> SnapshotResponse;
        transfer_leader: TransferRequest -> TransferResponse;
        fetch_entries: FetchRequest -> FetchResponse;
        read_index: ReadIndexRequest -> ReadIndexResponse;
    }

    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        let opened: BoxFuture<'_, _> = self.0.clone().open(requests).boxed();
        opened
    }
}
