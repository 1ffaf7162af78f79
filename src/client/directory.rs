//! The nodes there are, connections to them, and who is master.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::{Channel, Endpoint};

use super::builder::Settings;
use super::clusters::Clusters;
use super::connections::{Connections, Place, shared};
use super::error::{ClientError, Tried, root};
use crate::rpc::client_wire::MAX_MESSAGE;
use crate::rpc::grpc::dialer::Dialer;
use crate::rpc::pb;
use crate::rpc::pb::admin_service_client::AdminServiceClient;
use crate::rpc::pb::ledger_service_client::LedgerServiceClient;
use crate::types::{NodeId, Peers};

pub(super) type Service = LedgerServiceClient<Channel>;

/// How soon a node that is not master is asked again.
const PROBE_PAUSE: Duration = Duration::from_millis(25);
/// How soon a node that has no place for this client is asked again: there are others that it turns away too.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// Longest a connect may take, or what goes with it, where the client's timeout is not far longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the other end of a connection must show that it lives.
const PING: Duration = Duration::from_secs(2);
/// How long it may take to. Not short: a node under full load is slow, and a broken stream leaves outcomes unknown. A
/// master that hangs is found out by the append stream sooner.
const PONG: Duration = Duration::from_secs(3);

/// For how long, at least, a master that was found is not used while peers are silent that were never heard of: one of
/// them may be of another cluster. Never less than the master took to be found.
const HEED: Duration = Duration::from_millis(300);

/// The role that takes appends, as [`Role::name`](crate::Role::name) spells it.
const MASTER: &str = "master";

/// An address and what the node there says.
type Probed = (String, Result<pb::StatusResponse, ClientError>);

/// What a client knows of its cluster. Lives as long as the client and is shared by all its parts.
pub(super) struct Directory {
    pub(super) settings: Settings,
    peers: BTreeMap<NodeId, String>,
    dialer: Arc<dyn Dialer>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Addresses by preference of the list, then those that nodes named and the list does not have.
    addresses: Vec<String>,
    /// Connections are made at the first call, and again after every failure, resolving the name each time.
    connections: HashMap<String, Connections>,
    master: Option<String>,
    clusters: Clusters,
}

impl Directory {
    pub(super) fn new(peers: &Peers, settings: Settings, dialer: Arc<dyn Dialer>) -> Self {
        let addresses = peers.iter().map(|peer| peer.address.clone()).collect();
        let peers = peers.iter().map(|peer| (peer.id.clone(), peer.address.clone())).collect();
        Self { settings, peers, dialer, known: Mutex::new(Known { addresses, ..Known::default() }) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is a single assignment or insertion: what a panicked holder leaves behind is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a peer of the list.
    ///
    /// # Errors
    /// [`ClientError::UnknownNode`].
    pub(super) fn address_of(&self, node: &NodeId) -> Result<String, ClientError> {
        self.peers.get(node).cloned().ok_or_else(|| {
            let peers = self.peers.keys().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
            ClientError::UnknownNode { node: node.clone(), peers }
        })
    }

    /// All addresses to try for a read: the master's first.
    pub(super) fn by_preference(&self) -> Vec<String> {
        let known = self.known();
        let others = known.addresses.iter().filter(|&address| Some(address) != known.master.as_ref());
        known.master.iter().chain(others).cloned().collect()
    }

    pub(super) fn master(&self) -> Option<String> {
        self.known().master.clone()
    }

    /// Remembers who is master; `None`: whoever was is not any more.
    pub(super) fn set_master(&self, address: Option<String>) {
        if let Some(address) = &address {
            self.learn(address);
        }
        self.known().master = address;
    }

    /// Remembers an address that a node named. True if it is new.
    pub(super) fn learn(&self, address: &str) -> bool {
        let mut known = self.known();
        let new = !address.is_empty() && !known.addresses.iter().any(|have| have == address);
        if new {
            known.addresses.push(address.to_owned());
        }
        new
    }

    /// Whether all nodes that were heard of are of one cluster.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`].
    pub(super) fn one_cluster(&self) -> Result<(), ClientError> {
        self.known().clusters.one()
    }

    /// [`Directory::one_cluster`]; where it is not, all are asked again first: who is gone is forgotten.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`].
    pub(super) async fn still_one_cluster(&self) -> Result<(), ClientError> {
        if self.one_cluster().is_ok() {
            return Ok(());
        }
        // Who has used none of them must not take the one that is slow to answer for the one that is gone.
        let (settled, addresses) = {
            let clusters = &self.known().clusters;
            (clusters.is_settled(), clusters.addresses())
        };
        let within = if settled { HEED } else { self.connect_timeout() };
        let asked: FuturesUnordered<_> = addresses.into_iter().map(|address| self.probe(address, within)).collect();
        let answers: Vec<Probed> = asked.collect().await;
        if settled || answers.iter().any(|(_, answer)| answer.is_ok()) {
            let gone = answers.into_iter().filter(|(_, answer)| answer.as_ref().is_err_and(is_gone));
            let gone: Vec<_> = gone.map(|(address, _)| address).collect();
            self.known().clusters.forget(&gone);
        }
        self.one_cluster()
    }

    /// Makes sure that the node at `address` is of the same cluster as the others, before it is used. It is asked if
    /// that is not known, or `anew`.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`], or that of [`Directory::status`].
    pub(super) async fn vet(&self, address: &str, anew: bool) -> Result<(), ClientError> {
        if anew || !self.known().clusters.knows(address) {
            let status = self.status(address, self.settings.timeout).await?;
            self.known().clusters.note(address, &status);
        }
        self.still_one_cluster().await?;
        self.known().clusters.settle(address);
        Ok(())
    }

    /// Whether the node at `address`, which another one named, is there and of the same cluster.
    pub(super) async fn is_vetted(&self, address: &str) -> bool {
        matches!(timeout(self.connect_timeout(), self.vet(address, false)).await, Ok(Ok(())))
    }

    /// Whether there is a node that is not among those that `said` something, and of which it is not known of which
    /// cluster it is; or, `anew`, whether that is known or not.
    fn has_unheard<T>(&self, said: &BTreeMap<String, T>, anew: bool) -> bool {
        let known = self.known();
        let mut addresses = known.addresses.iter().chain(&known.master);
        addresses.any(|address| !said.contains_key(address) && (anew || !known.clusters.knows(address)))
    }

    /// Status at one address, over the connection that is kept for it.
    fn control(&self, address: &str) -> Result<Service, ClientError> {
        let endpoint = endpoint(address)?;
        Ok(service(self.connection(address, &endpoint, |all, dial| all.control(dial))))
    }

    /// What operators ask, over the same connection.
    pub(super) fn admin(&self, address: &str) -> Result<AdminServiceClient<Channel>, ClientError> {
        let endpoint = endpoint(address)?;
        Ok(AdminServiceClient::new(self.connection(address, &endpoint, |all, dial| all.control(dial))))
    }

    /// For a read at one address; its place is to be kept until it is answered.
    pub(super) fn read(&self, address: &str) -> Result<(Service, Place), ClientError> {
        let endpoint = shared(endpoint(address)?);
        let place = self.connection(address, &endpoint, |all, dial| all.read(dial));
        Ok((service(place.channel()), place))
    }

    /// For a stream of records from one address; its place is to be kept until it is dropped.
    pub(super) fn stream(&self, address: &str) -> Result<(Service, Place), ClientError> {
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

    /// Longest a connect or the beginning of a stream may take: an eighth of the client's timeout, for a cluster that
    /// is far away, but a second at least.
    pub(super) fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.max(self.settings.timeout / 8)
    }

    /// A connection of its own, for the append stream.
    pub(super) async fn connect(&self, address: &str) -> Result<Service, ClientError> {
        let broken = |reason: String| ClientError::Broken { address: address.to_owned(), reason };
        let endpoint = endpoint(address)?;
        let limit = self.connect_timeout();
        match timeout(limit, self.dialer.connected(&endpoint, limit)).await {
            Ok(Ok(channel)) => Ok(service(channel)),
            Ok(Err(error)) => Err(broken(root(&error))),
            Err(_) => Err(broken(format!("no connection within {limit:?}"))),
        }
    }

    pub(super) fn cluster(&self) -> String {
        self.settings.cluster.clone().map(String::from).unwrap_or_default()
    }

    pub(super) fn group(&self) -> String {
        self.settings.group.clone().into()
    }

    /// What the node at `address` says of the ledger.
    pub(super) async fn status(&self, address: &str, within: Duration) -> Result<pb::StatusResponse, ClientError> {
        let request = pb::StatusRequest { cluster: self.cluster(), group: self.group() };
        let mut service = self.control(address)?;
        match timeout(within, service.status(request)).await {
            Ok(Ok(status)) => Ok(status.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(address, &status)),
            Err(_) => {
                let reason = format!("no answer within {within:?}");
                Err(ClientError::Broken { address: address.to_owned(), reason })
            }
        }
    }

    /// Starts to look for the master.
    pub(super) fn search(&self) -> Search<'_> {
        let asked: FuturesUnordered<_> =
            self.by_preference().into_iter().map(|address| self.probe_at(address, Duration::ZERO)).collect();
        let (probes, started) = (asked.len(), Instant::now());
        Search { directory: self, started, probes, asked, said: BTreeMap::new(), found: None, members: BTreeMap::new() }
    }

    /// A node that is master where `address` is not, or not any more: of a higher term, in one round of questions. Each
    /// is given `within` to answer; `address` itself is perhaps one that never does.
    pub(super) async fn better_master(&self, address: &str, within: Duration) -> Option<String> {
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

    async fn probe(&self, address: String, within: Duration) -> Probed {
        let answer = self.status(&address, within).await;
        if let Ok(status) = &answer {
            self.known().clusters.note(&address, status);
        }
        (address, answer)
    }

    /// How far away a node is, is not known: it has all the time that the client has. One that never answers costs
    /// nothing where another one does.
    fn probe_at(&self, address: String, after: Duration) -> BoxFuture<'_, Probed> {
        async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            self.probe(address, self.settings.timeout).await
        }
        .boxed()
    }
}

/// All nodes are asked at once, and each again soon after it answered, until one says that it is master.
pub(super) struct Search<'a> {
    directory: &'a Directory,
    started: Instant,
    asked: FuturesUnordered<BoxFuture<'a, Probed>>,
    probes: usize,
    said: BTreeMap<String, Result<String, ClientError>>,
    /// The master, and how long to wait at most for what the others say of their cluster.
    found: Option<(String, Instant)>,
    /// Addresses and ids of the members that anybody named.
    members: BTreeMap<String, String>,
}

impl Search<'_> {
    /// The master's address, as soon as there is one and the others had their say: a client that was given nodes of two
    /// clusters is to append to neither, whichever answers first. May be dropped and called again without losing
    /// anything.
    ///
    /// # Errors
    /// Every node refuses for a reason that does not pass, like a group that none of them hosts; or
    /// [`ClientError::TwoClusters`].
    pub(super) async fn master(&mut self) -> Result<String, ClientError> {
        loop {
            // It may have been forgotten since, as one of another cluster.
            self.found.take_if(|(address, _)| !self.directory.known().clusters.may_be_used(address));
            // What was said before may not hold any more: where it does not fit together, all are asked again.
            let conflicting = self.directory.one_cluster().is_err();
            let unheard = self.directory.has_unheard(&self.said, conflicting);
            let heed = match (conflicting, &self.found) {
                (true, _) if !unheard || self.started.elapsed() >= HEED => {
                    self.directory.still_one_cluster().await?;
                    continue;
                }
                (true, _) => Some(self.started + HEED),
                (false, Some((_, heed))) if !unheard || *heed <= Instant::now() => return self.take_found(),
                (false, Some((_, heed))) => Some(*heed),
                (false, None) => None,
            };
            let next = match heed {
                None => self.asked.next().await,
                Some(heed) => match timeout_at(heed, self.asked.next()).await {
                    Ok(next) => next,
                    Err(_) => continue,
                },
            };
            let Some((address, answer)) = next else { break };
            if let Ok(status) = &answer {
                self.members.extend(status.members.iter().map(|member| (member.address.clone(), member.id.clone())));
            }
            let said = match answer {
                Ok(status) if status.role == MASTER => {
                    if self.found.is_none() {
                        let heed = Instant::now() + self.started.elapsed().max(HEED);
                        self.found = Some((address.clone(), heed));
                    }
                    Ok(status.role)
                }
                Ok(status) => {
                    if self.directory.learn(&status.master_address) {
                        self.probes += 1;
                        self.asked.push(self.directory.probe_at(status.master_address, Duration::ZERO));
                    }
                    Ok(match status.waiting.is_empty() {
                        true => status.role,
                        false => format!("{}: {}", status.role, status.waiting),
                    })
                }
                Err(error) => Err(error),
            };
            let pause = if matches!(said, Err(ClientError::Busy { .. })) { BUSY_PAUSE } else { PROBE_PAUSE };
            self.asked.push(self.directory.probe_at(address.clone(), pause));
            self.said.insert(address, said);
            let hopeless = |said: &Result<_, ClientError>| said.as_ref().err().filter(|e| !e.is_passing()).cloned();
            if self.said.len() == self.probes
                && let Some(errors) = self.said.values().map(hopeless).collect::<Option<Vec<_>>>()
                && let Some(error) = errors.into_iter().next()
            {
                return Err(error);
            }
        }
        Err(self.nobody())
    }

    /// Takes the master that was found, though not all had their say: for reads.
    pub(super) fn settle(&mut self) {
        // Whoever reads looks for two clusters too.
        let _ = self.take_found();
    }

    fn take_found(&mut self) -> Result<String, ClientError> {
        self.directory.one_cluster()?;
        let Some((address, _)) = self.found.take() else { return Err(self.nobody()) };
        self.directory.set_master(Some(address.clone()));
        self.directory.known().clusters.settle(&address);
        Ok(address)
    }

    /// None of them was master in time: [`ClientError::NoMaster`], [`ClientError::Unreachable`] if none answered, or
    /// [`ClientError::Busy`] if all that answered have no place for this client.
    pub(super) fn nobody(&self) -> ClientError {
        let answered = || self.said.values().filter(|said| !matches!(said, Err(ClientError::Broken { .. })));
        let busy = |said: &Result<_, ClientError>| matches!(said, Err(ClientError::Busy { .. }));
        if answered().all(busy)
            && let Some(Err(busy)) = answered().next()
        {
            return busy.clone();
        }
        let why = |address: &str| match self.said.get(address) {
            Some(Ok(role)) => role.clone(),
            Some(Err(error)) => error.why(),
            None => "no answer yet".to_owned(),
        };
        let addresses = self.directory.by_preference();
        let unasked = self.members.iter().filter(|(address, _)| !addresses.contains(address));
        let unasked: Vec<_> = unasked
            .map(|(address, id)| (address.clone(), format!("{id}, a member that is not among the peers: not asked")))
            .collect();
        let closed = |address: &str| matches!(self.said.get(address), Some(Err(ClientError::Closed { .. })));
        let asked = addresses.into_iter().map(|at| Tried { why: why(&at), closed: closed(&at), address: at });
        let unasked = unasked.into_iter().map(|(address, why)| Tried { address, why, closed: false });
        let tried = asked.chain(unasked).collect();
        let waited = self.started.elapsed();
        if answered().next().is_some() {
            ClientError::NoMaster { waited, tried }
        } else {
            ClientError::Unreachable { waited, tried }
        }
    }
}

/// Whether it says that the node which was at an address is not there any more, for all that can be told.
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
