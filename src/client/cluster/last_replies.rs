//! What each node last said to a client, to be told when a call ends without what it was after.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::client::error::ClientError;
use crate::client::error::tried::{Tried, Trouble};
use crate::rpc::pb;

/// The last words of the nodes.
#[derive(Default)]
pub(crate) struct Said {
    nodes: BTreeMap<String, Node>,
}

#[derive(Default)]
struct Node {
    /// What it said it is, or why it did not say.
    is: Option<Word>,
    /// What it refused a call with, or how the call failed.
    refused: Option<Word>,
    /// Addresses and ids of the members, as it last named them.
    members: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Word {
    at: Instant,
    why: String,
    trouble: Trouble,
}

impl Said {
    /// Takes down what the node at `address` answered to what it is.
    pub(crate) fn is(&mut self, address: &str, answer: &Result<pb::StatusResponse, ClientError>) {
        let node = self.nodes.entry(address.to_owned()).or_default();
        node.is = Some(match answer {
            Ok(status) => {
                let members = status.members.iter();
                node.members = members.map(|member| (member.address.clone(), member.id.clone())).collect();
                Word::of_status(status)
            }
            Err(error) => Word::of_error(error),
        });
    }

    /// Takes down what the node at `address` refused a call with.
    pub(crate) fn refused(&mut self, address: &str, error: &ClientError) {
        self.nodes.entry(address.to_owned()).or_default().refused = Some(Word::of_error(error));
    }

    /// What the nodes at `addresses` last said since `since`, and which members there are besides.
    pub(crate) fn since(&self, since: Instant, addresses: Vec<String>) -> Vec<Tried> {
        let named: BTreeMap<_, _> = self.nodes.values().flat_map(|node| &node.members).collect();
        let unasked = named.into_iter().filter(|(address, _)| !addresses.contains(address));
        let unasked: Vec<_> = unasked
            .map(|(address, id)| {
                let why = format!("{id}, a member that is not among the peers: not asked");
                Tried { address: address.clone(), why, trouble: Trouble::NotAsked }
            })
            .collect();
        let asked = addresses.into_iter().map(|address| {
            let last = self.nodes.get(&address).and_then(|node| node.last(since));
            let (why, trouble) = match last {
                Some(word) => (word.why.clone(), word.trouble),
                None => ("no answer".to_owned(), Trouble::Silent),
            };
            Tried { address, why, trouble }
        });
        asked.chain(unasked).collect()
    }
}

impl Node {
    /// What counts of what it said: one that says it is master and yet refuses is known by the refusal.
    fn last(&self, since: Instant) -> Option<&Word> {
        let fresh = |word: &&Word| word.at >= since;
        let (is, refused) = (self.is.as_ref().filter(fresh), self.refused.as_ref().filter(fresh));
        match (is, refused) {
            (Some(is), Some(refused)) if is.trouble != Trouble::Master && is.at > refused.at => Some(is),
            (is, refused) => refused.or(is),
        }
    }
}

impl Word {
    fn of_status(status: &pb::StatusResponse) -> Self {
        let mut why = status.role.clone();
        for more in [&status.closed_reason, &status.waiting] {
            if !more.is_empty() {
                why = format!("{why}: {more}");
            }
        }
        Self { at: Instant::now(), why, trouble: Trouble::of_role(&status.role) }
    }

    fn of_error(error: &ClientError) -> Self {
        Self { at: Instant::now(), why: error.why(), trouble: Trouble::of(error) }
    }
}
