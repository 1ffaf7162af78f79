//! The nodes there are, connections to them, and who is master.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::client::cluster::connections::{CallSlot, Connections, shared};
use crate::client::cluster::identities::Identities;
use crate::client::cluster::last_replies::LastReplies;
use crate::client::error::ClientError;
use crate::client::error::remote::root;
use crate::client::error::timed_out::{Wanted, timed_out};
use crate::client::settings::Settings;
use crate::transport::grpc::dialer::Dialer;
use crate::types::{NodeId, Peers, Span};
use crate::wire::client::MAX_MESSAGE;
use crate::wire::pb;
use crate::wire::pb::admin_service_client::AdminServiceClient;
use crate::wire::pb::ledger_service_client::LedgerServiceClient;

pub(crate) type Service = LedgerServiceClient<Channel>;

/// Shortest pause before the client asks a node again that had no place for it: the node turns other clients away too.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// Shortest limit for a connect and the first answer over it; [`Topology::connect_timeout`] may be longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connection pings its node.
const PING: Duration = Duration::from_secs(2);
/// How long a node may take to answer a ping. Not short, because a node under full load is slow and a broken stream
/// leaves outcomes unknown. The append stream notices a master that hangs sooner.
const PONG: Duration = Duration::from_secs(3);

/// Shortest time for which a search that has found a master waits for peers that have never answered, because one of
/// them may be of another cluster. The search waits at least as long as it took to find the master.
pub(crate) const HEARING_TIME: Duration = Duration::from_millis(300);

/// The role that takes appends, as [`Role::name`](crate::Role::name) spells it.
pub(crate) const MASTER: &str = "master";
/// The role of a node that is a member no more, spelled likewise.
const REMOVED: &str = "removed";

/// An address, and the status of the node there or why there is none.
pub(crate) type Probed = (String, Result<pb::StatusResponse, ClientError>);

/// What a client knows of its cluster. Lives as long as the client and is shared by all its parts.
pub(crate) struct Topology {
    pub(crate) settings: Settings,
    peers: BTreeMap<NodeId, String>,
    dialer: Arc<dyn Dialer>,
    known: Mutex<Known>,
    /// Notified when another node becomes master, or the master is master no more.
    moved: watch::Sender<()>,
}

#[derive(Default)]
pub(crate) struct Known {
    /// The addresses of the peer list in its order, then those that only nodes have named.
    addresses: Vec<String>,
    /// By address. Each connects at its first call, and again after every failure, and resolves the name each time.
    connections: HashMap<String, Connections>,
    master: Option<String>,
    pub(crate) identities: Identities,
    replies: LastReplies,
}

impl Topology {
    pub(crate) fn new(peers: &Peers, settings: Settings, dialer: Arc<dyn Dialer>) -> Self {
        let addresses = peers.iter().map(|peer| peer.address.clone()).collect();
        let peers = peers.iter().map(|peer| (peer.id.clone(), peer.address.clone())).collect();
        Self {
            settings,
            peers,
            dialer,
            known: Mutex::new(Known { addresses, ..Known::default() }),
            moved: Default::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is a single assignment or insertion: what a panicked holder leaves behind is whole.
        self.known.lock()
    }

    /// The address of a peer of the list.
    ///
    /// # Errors
    /// [`ClientError::UnknownNode`].
    pub(crate) fn address_of(&self, node: &NodeId) -> Result<String, ClientError> {
        self.peers.get(node).cloned().ok_or_else(|| {
            let peers = self.peers.keys().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
            ClientError::UnknownNode { node: node.clone(), peers }
        })
    }

    /// All addresses to try for a read: the master's first.
    pub(crate) fn by_preference(&self) -> Vec<String> {
        let known = self.known();
        let others = known.addresses.iter().filter(|&address| Some(address) != known.master.as_ref());
        known.master.iter().chain(others).cloned().collect()
    }

    pub(crate) fn master(&self) -> Option<String> {
        self.known().master.clone()
    }

    /// Remembers the master's address; `None`: the former master is master no more.
    pub(crate) fn set_master(&self, address: Option<String>) {
        if let Some(address) = &address {
            self.learn(address);
        }
        let mut known = self.known();
        if known.master != address {
            known.master = address;
            drop(known);
            self.moved.send_replace(());
        }
    }

    /// Notified when another node becomes master, or the master is master no more.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Remembers an address that a node named. True if it is new.
    pub(crate) fn learn(&self, address: &str) -> bool {
        let mut known = self.known();
        let new = !address.is_empty() && !known.addresses.iter().any(|have| have == address);
        if new {
            known.addresses.push(address.to_owned());
        }
        new
    }

    /// Remembers the members that a node names which is a member no more, and returns their addresses: the peer list
    /// may consist of such nodes alone.
    pub(crate) fn learn_members(&self, status: &pb::StatusResponse) -> Vec<String> {
        let members = status.members.iter().filter(|member| status.role == REMOVED && member.id != status.node);
        let members: Vec<_> = members.map(|member| member.address.clone()).filter(|at| !at.is_empty()).collect();
        members.iter().for_each(|address| _ = self.learn(address));
        members
    }

    /// Checks that all nodes which have said their cluster are of the same one.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`].
    pub(crate) fn check_one_cluster(&self) -> Result<(), ClientError> {
        self.known().identities.check_one()
    }

    /// [`Topology::check_one_cluster`]. If that fails, it asks all nodes again first and forgets those that are gone.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`].
    pub(crate) async fn recheck_one_cluster(&self) -> Result<(), ClientError> {
        if self.check_one_cluster().is_ok() {
            return Ok(());
        }
        // A client that has used no cluster yet must not take a node that is slow for one that is gone.
        let (settled, addresses) = {
            let clusters = &self.known().identities;
            (clusters.has_home(), clusters.addresses())
        };
        let within = if settled { HEARING_TIME } else { self.connect_timeout() };
        let asked: FuturesUnordered<_> = addresses.into_iter().map(|address| self.probe(address, within)).collect();
        let answers: Vec<Probed> = asked.collect().await;
        if settled || answers.iter().any(|(_, answer)| answer.is_ok()) {
            let gone = answers.into_iter().filter(|(_, answer)| answer.as_ref().is_err_and(is_gone));
            let gone: Vec<_> = gone.map(|(address, _)| address).collect();
            self.known().identities.forget(&gone);
        }
        self.check_one_cluster()
    }

    /// Makes sure that the node at `address` is of the same cluster as the others, before the client uses it. Asks the
    /// node if its cluster is not known, or if `anew` is set.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`], or that of [`Topology::status`].
    pub(crate) async fn vet(&self, address: &str, anew: bool) -> Result<(), ClientError> {
        if anew || !self.known().identities.knows(address) {
            let status = self.status(address, self.settings.timeout).await?;
            self.known().identities.note(address, &status);
            self.learn_members(&status);
        }
        self.recheck_one_cluster().await?;
        self.known().identities.adopt(address);
        Ok(())
    }

    /// Whether the node at `address`, which another node named, answers and is of the same cluster.
    pub(crate) async fn is_vetted(&self, address: &str) -> bool {
        matches!(timeout(self.connect_timeout(), self.vet(address, false)).await, Ok(Ok(())))
    }

    /// Whether a known node is not in `said` and its cluster is not known; with `anew`, whether a known node is not in
    /// `said`.
    pub(crate) fn has_unheard<T>(&self, said: &BTreeMap<String, T>, anew: bool) -> bool {
        let known = self.known();
        let mut addresses = known.addresses.iter().chain(&known.master);
        addresses.any(|address| !said.contains_key(address) && (anew || !known.identities.knows(address)))
    }

    /// Status at one address, over the connection that is kept for it.
    fn control(&self, address: &str) -> Result<Service, ClientError> {
        self.in_runtime()?;
        let endpoint = endpoint(address)?;
        Ok(service(self.connection(address, &endpoint, |all, dial| all.control(dial))))
    }

    /// The service for operators, over the same connection.
    pub(crate) fn admin(&self, address: &str) -> Result<AdminServiceClient<Channel>, ClientError> {
        self.in_runtime()?;
        let endpoint = endpoint(address)?;
        Ok(AdminServiceClient::new(self.connection(address, &endpoint, |all, dial| all.control(dial))))
    }

    /// The service for a read. Keep the slot until the answer is there.
    pub(crate) fn read(&self, address: &str) -> Result<(Service, CallSlot), ClientError> {
        self.in_runtime()?;
        let endpoint = shared(endpoint(address)?);
        let place = self.connection(address, &endpoint, |all, dial| all.read(dial));
        Ok((service(place.channel()), place))
    }

    /// The service for a stream of records. Keep the slot as long as the stream.
    pub(crate) fn stream(&self, address: &str) -> Result<(Service, CallSlot), ClientError> {
        self.in_runtime()?;
        let endpoint = shared(endpoint(address)?);
        let place = self.connection(address, &endpoint, |all, dial| all.stream(dial));
        Ok((service(place.channel()), place))
    }

    /// Takes one of the connections to `address`, or makes one.
    fn connection<T>(
        &self,
        address: &str,
        endpoint: &Endpoint,
        take: impl FnOnce(&mut Connections, &dyn Fn() -> Channel) -> T,
    ) -> T {
        let limit = self.connect_timeout();
        let dial = || self.dialer.lazy(endpoint, limit);
        take(self.known().connections.entry(address.to_owned()).or_default(), &dial)
    }

    /// Longest time for a connect or for the beginning of a stream: an eighth of the client's timeout, so that it suits
    /// a cluster that is far away, but a second at least.
    pub(crate) fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.max(self.settings.timeout / 8)
    }

    /// A connection of its own, for the append stream.
    pub(crate) async fn connect(&self, address: &str) -> Result<Service, ClientError> {
        let broken = |reason: String| ClientError::Broken { address: address.to_owned(), reason, reached: false };
        let endpoint = endpoint(address)?;
        let limit = self.connect_timeout();
        match timeout(limit, self.dialer.connected(&endpoint, limit)).await {
            Ok(Ok(channel)) => Ok(service(channel)),
            Ok(Err(error)) => Err(broken(root(&error))),
            Err(_) => Err(broken(format!("no connection within {}", Span(limit)))),
        }
    }

    pub(crate) fn cluster(&self) -> String {
        self.settings.cluster.clone().map(String::from).unwrap_or_default()
    }

    pub(crate) fn group(&self) -> String {
        self.settings.group.clone().into()
    }

    /// What the node at `address` says of the ledger.
    pub(crate) async fn status(&self, address: &str, within: Duration) -> Result<pb::StatusResponse, ClientError> {
        let request = pb::StatusRequest { cluster: self.cluster(), group: self.group() };
        let mut service = self.control(address)?;
        let answer = match timeout(within, service.status(request)).await {
            Ok(Ok(status)) => Ok(status.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(address, &status)),
            Err(_) => Err(ClientError::silent(address, within)),
        };
        self.known().replies.note_status(address, &answer);
        answer
    }

    /// Remembers what the node at `address` refused a call with, or how the call failed.
    pub(crate) fn note_refusal(&self, address: &str, error: &ClientError) {
        self.known().replies.note_refusal(address, error);
    }

    /// The error of a call that has tried in vain since `since` to reach what it `wanted`.
    pub(crate) fn timed_out(&self, wanted: Wanted, since: Instant) -> ClientError {
        let addresses = self.by_preference();
        timed_out(wanted, since.elapsed(), self.known().replies.since(since, addresses))
    }

    /// The error of an append that has waited since `since` for room in flight.
    pub(crate) fn no_room(&self, since: Instant, bytes: usize) -> ClientError {
        let waited = Span(since.elapsed());
        let why = self.timed_out(Wanted::Master, since);
        let message = format!("no room in flight within {waited}, {bytes} bytes of this client's appends wait: {why}");
        ClientError::Busy { message }
    }

    /// Checks that there is a tokio runtime, before the first use of one panics.
    ///
    /// # Errors
    /// [`ClientError::NoRuntime`].
    pub(crate) fn in_runtime(&self) -> Result<(), ClientError> {
        tokio::runtime::Handle::try_current().map(drop).map_err(|_| ClientError::NoRuntime)
    }

    /// The master of the highest term, if that is another node than the one at `address`. Asks all nodes once, and each
    /// has `within` to answer; the node at `address` perhaps never does.
    pub(crate) async fn better_master(&self, address: &str, within: Duration) -> Option<String> {
        let asked: FuturesUnordered<_> =
            self.by_preference().into_iter().map(|address| self.probe(address, within)).collect();
        let answers: Vec<_> = asked.collect().await;
        let masters = answers.into_iter().filter_map(|(address, answer)| Some((address, answer.ok()?)));
        let masters: Vec<_> = masters.filter(|(_, status)| status.role == MASTER).collect();
        let newest = masters.iter().map(|(_, status)| status.term).max()?;
        let mut newest = masters.into_iter().filter(|(_, status)| status.term == newest).map(|(address, _)| address);
        // One node may be known by two addresses.
        let first = newest.next()?;
        (first != address && newest.all(|other| other != address)).then_some(first)
    }

    pub(crate) async fn probe(&self, address: String, within: Duration) -> Probed {
        let answer = self.status(&address, within).await;
        if let Ok(status) = &answer {
            self.known().identities.note(&address, status);
        }
        (address, answer)
    }
}

/// Whether `error` suggests that the former node is no longer at the address.
fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Broken { .. } | ClientError::UnknownGroup { .. } | ClientError::WrongCluster { .. })
}

fn endpoint(address: &str) -> Result<Endpoint, ClientError> {
    let malformed = |error| ClientError::Malformed { address: address.to_owned(), what: format!("{error}") };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(malformed)?;
    Ok(endpoint.http2_keep_alive_interval(PING).keep_alive_timeout(PONG).keep_alive_while_idle(true))
}

fn service(channel: Channel) -> Service {
    Service::new(channel).max_decoding_message_size(MAX_MESSAGE)
}
