//! What each node last said to a client, for the error of a call whose time is up.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::client::error::ClientError;
use crate::client::error::tried::{NodeProblem, TriedNode};
use crate::wire::pb;

/// The last replies of all nodes.
#[derive(Default)]
pub(crate) struct LastReplies {
    nodes: BTreeMap<String, NodeReplies>,
}

#[derive(Default)]
struct NodeReplies {
    /// Its last status, or why it gave none.
    is: Option<LastReply>,
    /// The refusal or failure of the last call that it did not serve.
    refused: Option<LastReply>,
    /// The members that it last named, ids by address.
    members: BTreeMap<String, String>,
}

#[derive(Clone)]
struct LastReply {
    at: Instant,
    reason: String,
    problem: NodeProblem,
}

impl LastReplies {
    /// Notes the answer of the node at `address` to a question for its status.
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

    /// Notes how the node at `address` refused a call.
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
    /// The newer of both. But of a node that says it is master and yet refuses calls, the refusal tells more.
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
