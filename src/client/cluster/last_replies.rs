//! What each node last said to a client, to be told when a call ends without what it was after.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::client::error::ClientError;
use crate::client::error::tried::{NodeProblem, TriedNode};
use crate::wire::pb;

/// The last words of the nodes.
#[derive(Default)]
pub(crate) struct LastReplies {
    nodes: BTreeMap<String, NodeReplies>,
}

#[derive(Default)]
struct NodeReplies {
    /// What it said it is, or why it did not say.
    is: Option<LastReply>,
    /// What it refused a call with, or how the call failed.
    refused: Option<LastReply>,
    /// Addresses and ids of the members, as it last named them.
    members: BTreeMap<String, String>,
}

#[derive(Clone)]
struct LastReply {
    at: Instant,
    reason: String,
    problem: NodeProblem,
}

impl LastReplies {
    /// Takes down what the node at `address` answered to what it is.
    pub(crate) fn note_status(&mut self, address: &str, answer: &Result<pb::StatusResponse, ClientError>) {
        let node = self.nodes.entry(address.to_owned()).or_default();
        node.is = Some(match answer {
            Ok(status) => {
                let members = status.members.iter();
                node.members = members.map(|member| (member.address.clone(), member.id.clone())).collect();
                LastReply::of_status(status)
            }
            Err(error) => LastReply::of_error(error),
        });
    }

    /// Takes down what the node at `address` refused a call with.
    pub(crate) fn note_refusal(&mut self, address: &str, error: &ClientError) {
        self.nodes.entry(address.to_owned()).or_default().refused = Some(LastReply::of_error(error));
    }

    /// What the nodes at `addresses` last said since `since`, and which members there are besides.
    pub(crate) fn since(&self, since: Instant, addresses: Vec<String>) -> Vec<TriedNode> {
        let named: BTreeMap<_, _> = self.nodes.values().flat_map(|node| &node.members).collect();
        let unasked = named.into_iter().filter(|(address, _)| !addresses.contains(address));
        let unasked: Vec<_> = unasked
            .map(|(address, id)| {
                let reason = format!("{id}, a member that is not among the peers: not asked");
                TriedNode { address: address.clone(), reason, problem: NodeProblem::NotAsked }
            })
            .collect();
        let asked = addresses.into_iter().map(|address| {
            let last = self.nodes.get(&address).and_then(|node| node.last(since));
            let (reason, problem) = match last {
                Some(reply) => (reply.reason.clone(), reply.problem),
                None => ("no answer".to_owned(), NodeProblem::Silent),
            };
            TriedNode { address, reason, problem }
        });
        asked.chain(unasked).collect()
    }
}

impl NodeReplies {
    /// What counts of what it said: one that says it is master and yet refuses is known by the refusal.
    fn last(&self, since: Instant) -> Option<&LastReply> {
        let fresh = |reply: &&LastReply| reply.at >= since;
        let (is, refused) = (self.is.as_ref().filter(fresh), self.refused.as_ref().filter(fresh));
        match (is, refused) {
            (Some(is), Some(refused)) if is.problem != NodeProblem::Master && is.at > refused.at => Some(is),
            (is, refused) => refused.or(is),
        }
    }
}

impl LastReply {
    fn of_status(status: &pb::StatusResponse) -> Self {
        let mut reason = status.role.clone();
        for more in [&status.closed_reason, &status.waiting] {
            if !more.is_empty() {
                reason = format!("{reason}: {more}");
            }
        }
        Self { at: Instant::now(), reason, problem: NodeProblem::of_role(&status.role) }
    }

    fn of_error(error: &ClientError) -> Self {
        Self { at: Instant::now(), reason: error.why(), problem: error.node_problem() }
    }
}
