//! The first membership.
//!
//! Only the node with the lowest id makes it, and only when *all* peers answer that they are empty: unreachable is
//! not empty. So a node that lost its disk never forms a second cluster beside the first, and two halves of a
//! partition never form two. A peer that is empty says so only to who has the same peer list, so that two nodes with
//! different lists, each the lowest of its own, never form two either. The membership carries the incarnation of
//! every disk from the beginning. A node that is to join a cluster that exists ([`Config::join`]) forms none and
//! promises itself to nobody. A cluster of one is formed only where it is asked for ([`Config::single`]).

use std::sync::Arc;
use std::time::Duration;

use futures::future;

use super::ledger::WeakLedger;
use crate::config::Config;
use crate::log::directory::Identity;
use crate::pb;
use crate::raft::Runtime;
use crate::rpc::envelope::envelope;
use crate::rpc::transport::{Lane, Transport, TransportError};
use crate::types::{Incarnation, Member, Peer, checked_address};

/// How long to wait before peers are asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How long once they have been asked [`EAGER`] times: a hundred ledgers that wait for a node that is not there are
/// to cost little.
const PATIENT: Duration = Duration::from_secs(1);
/// How often to ask before one becomes patient.
const EAGER: u32 = 100;
/// How long a peer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Forms a cluster, if that is this node's business.
pub(super) struct Formation {
    identity: Identity,
    me: Member,
    /// The whole list as text: all peers must have the same.
    peers: String,
    others: Vec<Peer>,
    lowest: bool,
    /// What the cluster is to be known by, should it be formed here.
    cluster: Incarnation,
    transport: Arc<dyn Transport>,
    ledger: WeakLedger,
}

/// What the peers said.
enum Round {
    /// All are empty.
    Empty(Vec<Member>),
    /// Not all answered, or one is not empty: what to tell the operator.
    NotYet(String),
}

impl Formation {
    pub(super) fn new(
        identity: Identity,
        config: &Config,
        advertised: &str,
        cluster: Incarnation,
        transport: Arc<dyn Transport>,
        ledger: WeakLedger,
    ) -> Self {
        let me =
            Member { id: identity.node.clone(), address: advertised.to_owned(), incarnation: identity.incarnation };
        let lowest = config.single || config.peers.lowest().is_some_and(|lowest| lowest.id == config.id);
        let lowest = lowest && !config.join && config.names_a_cluster();
        let others = config.peers.iter().filter(|peer| peer.id != config.id).cloned().collect();
        Self { identity, me, peers: config.peers.agreed(), others, lowest, cluster, transport, ledger }
    }

    /// Runs until there is a membership or the ledger is gone.
    pub(super) async fn run<R: Runtime>(self) {
        if !self.lowest {
            return;
        }
        let mut told = String::new();
        for round in 0_u32.. {
            let Some(ledger) = self.ledger.upgrade() else { return };
            match ledger.raft_group().is_pristine().await {
                Ok(true) => {}
                // Formed before, or by the time: nothing to do. Or Raft has stopped.
                Ok(false) | Err(_) => return,
            }
            match self.ask_all().await {
                Round::Empty(members) => {
                    tracing::info!(group = %self.identity.group, ?members, "forming the cluster");
                    if let Err(error) = ledger.raft_group().initialize(members, self.cluster).await {
                        tracing::error!(group = %self.identity.group, %error, "cannot form the cluster");
                    }
                }
                Round::NotYet(why) if why != told => {
                    tracing::info!(group = %self.identity.group, %why, "the cluster is not formed yet");
                    told = why;
                }
                Round::NotYet(_) => {}
            }
            drop(ledger);
            R::sleep(if round < EAGER { RETRY } else { PATIENT }).await;
        }
    }

    async fn ask_all(&self) -> Round {
        let answers = future::join_all(self.others.iter().map(|peer| self.ask(peer))).await;
        let mut members = vec![self.me.clone()];
        for (peer, answer) in self.others.iter().zip(answers) {
            match answer {
                Ok(answer) if !answer.empty => {
                    let why = format!("{} is not empty: this node's disk is new to a cluster that exists", peer.id);
                    return Round::NotYet(why);
                }
                Ok(answer) => match Incarnation::from_slice(&answer.incarnation) {
                    Some(incarnation) => {
                        let address = match address(peer, &answer.advertised_address) {
                            Ok(address) => address,
                            Err(why) => return Round::NotYet(why),
                        };
                        members.push(Member { id: peer.id.clone(), address, incarnation });
                    }
                    None => return Round::NotYet(format!("{} sent no incarnation", peer.id)),
                },
                Err(error) => return Round::NotYet(format!("{}: {error}", peer.id)),
            }
        }
        Round::Empty(members)
    }

    async fn ask(&self, peer: &Peer) -> Result<pb::IdentifyResponse, TransportError> {
        let request = pb::IdentifyRequest {
            envelope: Some(envelope(&self.identity, &peer.id, None)),
            segment_size: self.identity.segment_size,
            peers: self.peers.clone(),
            join: false,
        };
        self.transport.link(&peer.address, Lane::Control).identify(request, TIMEOUT).await
    }
}

/// Where a member is reached: where it says, or else where it was found.
fn address(peer: &Peer, advertised: &str) -> Result<String, String> {
    if advertised.is_empty() {
        return Ok(peer.address.clone());
    }
    checked_address(advertised).map_err(|why| format!("{} advertises {advertised:?}: {why}", peer.id))
}
