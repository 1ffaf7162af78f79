//! The first membership.
//!
//! Only the node with the lowest id, the founder, makes it, and only when *all* peers answer that they are empty:
//! unreachable is not empty. So a node that lost its disk never forms a second cluster beside the first, and two halves
//! of a partition never form two. An empty peer says so only to a node that has the same peer list, so that two nodes
//! with different lists, each the lowest of its own, never form two clusters either. The membership carries the
//! incarnation of every disk from the beginning. A node that is to join an existing cluster ([`Config::join`]) forms
//! none and promises itself to nobody. A node forms a cluster of one only where the configuration asks for that
//! ([`Config::single`]).
//!
//! All other nodes watch the founder, so that they can say for whom they wait ([`master_wait`](super::master_wait)).

use std::sync::Arc;
use std::time::Duration;

use futures::future;

use crate::config::Config;
use crate::config::timing::Timing;
use crate::log::directory::Identity;
use crate::node::ledger::Ledger;
use crate::peer::envelope::{envelope, look};
use crate::transport::{Lane, Transport, TransportError};
use crate::types::{Incarnation, Member, Peer, checked_address};
use crate::wire::pb::{self, refusal::Reason};

/// Forms the cluster, if this node is its founder, or finds out why there is none yet.
pub(crate) struct Formation {
    identity: Identity,
    me: Member,
    /// The whole list as text: all peers must have the same.
    peers: String,
    others: Vec<Peer>,
    /// The founder, if that is another node.
    founder: Option<Peer>,
    is_founder: bool,
    join: bool,
    /// The incarnation of the cluster, should this node form it.
    cluster: Incarnation,
    transport: Arc<dyn Transport>,
    /// How long a peer may take to answer.
    answer: Duration,
}

/// What the peers say, taken together.
enum PeerAnswers {
    /// All are empty.
    Empty(Vec<Member>),
    /// Not all of them answered, or one is not empty: what to tell the operator.
    NotYet(String),
}

impl Formation {
    pub(crate) fn new(
        identity: Identity,
        config: &Config,
        advertised: &str,
        cluster: Incarnation,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let me =
            Member { id: identity.node.clone(), address: advertised.to_owned(), incarnation: identity.incarnation };
        let lowest = config.single || config.peers.lowest().is_some_and(|lowest| lowest.id == config.id);
        let is_founder = lowest && !config.join && config.names_a_cluster();
        let founder = config.peers.lowest().filter(|_| !lowest).cloned();
        let others = config.peers.iter().filter(|peer| peer.id != config.id).cloned().collect();
        let (peers, answer) = (config.peers.agreed(), Timing::of(config).call());
        Self { identity, me, peers, others, founder, is_founder, join: config.join, cluster, transport, answer }
    }

    /// Whether this node forms the cluster.
    pub(crate) fn is_founder(&self) -> bool {
        self.is_founder
    }

    /// What an empty node can do: form the cluster, if it is the founder and all others are there. Returns why there is
    /// no cluster yet, and what to do.
    pub(crate) async fn attempt(&self, ledger: &Ledger) -> Option<String> {
        if self.join {
            let Member { id, address, .. } = &self.me;
            return Some(format!(
                "waits to be added: `dledger members add {address}`, or, if {id} is a member whose disk was lost, \
                 `dledger members replace {id} {address}`"
            ));
        }
        if let Some(founder) = &self.founder {
            return Some(self.watch_founder(founder).await);
        }
        if !self.is_founder {
            return Some("waits for nobody: start it with --peers, --join or --single".to_owned());
        }
        match self.ask_all(ledger).await {
            PeerAnswers::Empty(members) => {
                let names = members.iter().map(|member| member.id.as_str()).collect::<Vec<_>>().join(", ");
                tracing::info!(group = %self.identity.group, members = names, "forming the cluster");
                let formed = ledger.replica().raft.initialize(members, self.cluster).await;
                formed.err().map(|error| format!("cannot form the cluster: {error}"))
            }
            PeerAnswers::NotYet(why) => Some(why),
        }
    }

    /// Why `founder` has not formed the cluster yet, or which peer has a cluster without this node.
    async fn watch_founder(&self, founder: &Peer) -> String {
        let answers = future::join_all(self.others.iter().map(|peer| self.ask(peer, true))).await;
        let mut waits = format!("waits for {}, which forms the cluster", founder.id);
        for (peer, answer) in self.others.iter().zip(answers) {
            match answer {
                Ok(answer) if !answer.empty && answer.member => {
                    return format!("{} has formed the cluster: waits to hear from its master", peer.id);
                }
                Ok(answer) if !answer.empty => return self.formed_without(peer),
                Err(error) if is_about_us(&error) => return self.known_otherwise(peer, &error),
                Ok(answer) if !answer.peers.is_empty() && answer.peers != self.peers => {
                    return format!(
                        "{} has the peer list {}, this node {}: correct them and restart",
                        peer.id, answer.peers, self.peers
                    );
                }
                Ok(answer) if peer.id == founder.id && !answer.waiting.is_empty() => {
                    waits = format!("{waits}, and {} {}", peer.id, answer.waiting);
                }
                Err(error) if peer.id == founder.id => waits = format!("{waits}: {}", why(&error)),
                Ok(_) | Err(_) => {}
            }
        }
        waits
    }

    fn formed_without(&self, peer: &Peer) -> String {
        format!("{} has formed its cluster already: `dledger members add {}`", peer.id, self.me.address)
    }

    /// The peer knows this node's id with another disk, or knows this disk as removed.
    fn known_otherwise(&self, peer: &Peer, error: &TransportError) -> String {
        let Member { id, address, .. } = &self.me;
        let what_to_do = format!("if the disk of {id} was lost, `dledger members replace {id} {address}`");
        format!("{} has formed its cluster already and refuses this disk ({}): {what_to_do}", peer.id, why(error))
    }

    async fn ask_all(&self, ledger: &Ledger) -> PeerAnswers {
        let answers = future::join_all(self.others.iter().map(|peer| self.ask(peer, false))).await;
        let (mut members, mut missing, mut told) = (vec![self.me.clone()], Vec::new(), Vec::new());
        for (peer, answer) in self.others.iter().zip(answers) {
            match answer {
                Ok(answer) if !answer.empty => return PeerAnswers::NotYet(self.formed_without(peer)),
                Ok(answer) => match self.member(peer, &answer) {
                    Ok(member) => {
                        told.push((&peer.id, answer.durability));
                        members.push(member);
                    }
                    Err(why) => missing.push(why),
                },
                Err(error) if is_about_us(&error) => return PeerAnswers::NotYet(self.known_otherwise(peer, &error)),
                Err(error) => missing.push(format!("{} ({})", peer.id, why(&error))),
            }
        }
        if missing.is_empty() {
            for (peer, durability) in told {
                ledger.compare_durability(peer, &durability);
            }
            return PeerAnswers::Empty(members);
        }
        let missing = missing.join(", ");
        PeerAnswers::NotYet(format!(
            "waits for {missing}: the cluster is formed once all nodes of the peer list are there"
        ))
    }

    /// An empty peer as a member.
    fn member(&self, peer: &Peer, answer: &pb::IdentifyResponse) -> Result<Member, String> {
        let Some(incarnation) = Incarnation::from_slice(&answer.incarnation) else {
            return Err(format!("{} (it sent no incarnation)", peer.id));
        };
        let address = address(peer, &answer.advertised_address)?;
        Ok(Member { id: peer.id.clone(), address, incarnation })
    }

    /// `only_looks`: the peer does not promise itself to this node.
    async fn ask(&self, peer: &Peer, only_looks: bool) -> Result<pb::IdentifyResponse, TransportError> {
        let look = look(&self.identity, envelope(&self.identity, &peer.id, None));
        let request = pb::IdentifyRequest { peers: self.peers.clone(), join: only_looks, ..look };
        self.transport.link(&peer.address, Lane::Control).identify(request, self.answer).await
    }
}

/// Whether the peer refused the call because of its sender: its membership knows this node with another disk.
fn is_about_us(error: &TransportError) -> bool {
    matches!(error, TransportError::Refused { refusal, .. } if refusal.reason() == Reason::Sender)
}

/// Why there was no answer, for the operator; the caller names the peer beside it.
pub(crate) fn why(error: &TransportError) -> String {
    match error {
        TransportError::Refused { refusal, .. } => {
            format!("it refuses: found {}, expected {}", refusal.found, refusal.expected)
        }
        other => other.to_string(),
    }
}

/// The address of a member: the one that it advertises, or else the one in the peer list.
fn address(peer: &Peer, advertised: &str) -> Result<String, String> {
    if advertised.is_empty() {
        return Ok(peer.address.clone());
    }
    checked_address(advertised).map_err(|why| format!("{} advertises {advertised:?}: {why}", peer.id))
}
