//! The statuses of the nodes, and the laws about them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::findings::{About, Findings, moment};
use crate::{ChainAt, Law, NodeStatusEvent};

/// What nodes said of themselves. The lines of one node are in the order in which it said them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: HashMap<String, Node>,
    /// The master of each term, and when it first said so.
    masters: HashMap<u64, (String, u64)>,
    /// The chain value at each position, the node that first named it, and when.
    chains: HashMap<u64, (u32, String, u64)>,
    pub(super) chains_compared: u64,
    /// The highest index that a node called committed before replicas were read, the node, and when.
    committed: Option<(u64, String, u64)>,
    replicas_read: bool,
}

/// What is remembered of a node: the last value that may not fall, and when it was said.
#[derive(Debug, Default)]
struct Node {
    start: u64,
    term: Said,
    committed: Said,
    first: Said,
    /// The most that was committed and durable before replicas were read: also in later lives.
    kept: Said,
}

#[derive(Debug, Default, Clone, Copy)]
struct Said {
    value: u64,
    at: u64,
}

impl Said {
    /// Whether `value` is no less than before; if it is, what was said before.
    fn rises(&mut self, value: u64, at: u64) -> Result<(), Self> {
        let before = *self;
        *self = Self { value, at };
        if value < before.value { Err(before) } else { Ok(()) }
    }
}

impl Nodes {
    pub(super) fn push(&mut self, at: u64, status: &NodeStatusEvent, findings: &mut Findings) {
        let NodeStatusEvent { node: name, start, role, term, first, durable, committed, chain, .. } = status;
        pointers(at, status, findings);
        if let Some(chain) = chain {
            self.chain(at, name, *chain, findings);
        }
        if role == "master" {
            self.master(at, *term, name, findings);
        }
        // What comes later may be in the log later: an append that nobody knew the outcome of.
        if !self.replicas_read && self.committed.as_ref().is_none_or(|(highest, ..)| committed > highest) {
            self.committed = Some((*committed, name.clone(), at));
        }
        if !self.nodes.contains_key(name) {
            self.nodes.insert(name.clone(), Node { start: *start, ..Node::default() });
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        if *start < node.start {
            findings
                .invalid(|| format!("{name} is in its start {start} after its start {}: count them up", node.start));
        }
        if *start != node.start {
            (node.start, node.committed) = (*start, Said::default());
        }
        // What is not durable may be gone with the power, and a replica that is behind lacks it then.
        let kept = *committed.min(durable);
        if !self.replicas_read && kept > node.kept.value {
            node.kept = Said { value: kept, at };
        }
        let mut fell = |law, what: &str, said: &mut Said, value| {
            if let Err(before) = said.rises(value, at) {
                findings.broken(law, |about| fell(about, name, what, before, Said { value, at }));
            }
        };
        fell(Law::NodeTerm, "its term", &mut node.term, *term);
        fell(Law::CommittedFell, "what it knows to be committed", &mut node.committed, *committed);
        fell(Law::FirstFell, "the lowest index it stores", &mut node.first, *first);
    }

    /// A replica was read. All that a node has called committed so far must be in a replica; what was durable on it
    /// too, in its own. Statuses that come between the replicas do not count, because they may be newer than a
    /// replica whose line comes later.
    pub(super) fn replica_read(&mut self) {
        self.replicas_read = true;
    }

    /// The node has a new disk: nothing that it said before binds it.
    pub(super) fn wiped(&mut self, node: &str) {
        if let Some(node) = self.nodes.get_mut(node) {
            *node = Node { start: node.start, ..Node::default() };
        }
    }

    /// `node` has the chain value `chain`.
    pub(super) fn chain(&mut self, at: u64, node: &str, chain: ChainAt, findings: &mut Findings) {
        self.chains_compared += 1;
        match self.chains.entry(chain.position) {
            Entry::Vacant(vacant) => {
                vacant.insert((chain.value, node.to_owned(), at));
            }
            Entry::Occupied(known) => {
                let (value, other, then) = known.get();
                if *value == chain.value {
                    return;
                }
                findings.broken(Law::Chain, |about| {
                    about.node(other).node(node).at(at).says(format!(
                        "Up to position {}, the bytes of {other} had chain value {value:08x} (at {}) and those of \
                         {node} have {:08x} (at {}): they are not the same bytes.",
                        chain.position,
                        moment(*then),
                        chain.value,
                        moment(at)
                    ))
                });
            }
        }
    }

    fn master(&mut self, at: u64, term: u64, name: &str, findings: &mut Findings) {
        match self.masters.entry(term) {
            Entry::Vacant(vacant) => {
                vacant.insert((name.to_owned(), at));
            }
            Entry::Occupied(known) => {
                let (other, then) = known.get();
                if other != name {
                    findings.broken(Law::OneMaster, |about| {
                        about.node(other).node(name).at(at).says(format!(
                            "{other} said at {} that it was master of term {term}, and {name} said the same at {}.",
                            moment(*then),
                            moment(at)
                        ))
                    });
                }
            }
        }
    }

    /// `end` is the index after the last record of the log in the end, and `ends` are those of the replicas.
    pub(super) fn finish<'a>(self, end: u64, ends: impl Iterator<Item = (&'a str, u64)>, findings: &mut Findings) {
        for (name, replica) in ends {
            let Some(Said { value, at }) = self.nodes.get(name).map(|node| node.kept) else { continue };
            // What no replica has is said once, below.
            if value > replica && value <= end {
                findings.broken(Law::Committed, |about| {
                    about.index(replica).node(name).at(at).says(format!(
                        "{name} said at {} that {value} records are committed and durable, and in the end its replica \
                         ends at index {replica}.",
                        moment(at)
                    ))
                });
            }
        }
        let Some((committed, node, at)) = self.committed else { return };
        if committed > end {
            findings.broken(Law::Committed, |about| {
                about.index(end).node(&node).at(at).says(format!(
                    "{node} said at {} that {committed} records are committed, and in the end no replica has any from \
                     index {end} on.",
                    moment(at)
                ))
            });
        }
    }
}

fn pointers(at: u64, status: &NodeStatusEvent, findings: &mut Findings) {
    let NodeStatusEvent { node, first, durable, committed, end, .. } = status;
    if first <= committed && committed <= end && durable <= end {
        return;
    }
    findings.broken(Law::Pointers, |about| {
        about.node(node).at(at).says(format!(
            "{node} said at {} that it stores {first} to {end}, of which those below {committed} are committed and \
             those below {durable} durable: first <= committed <= end and durable <= end do not hold.",
            moment(at)
        ))
    });
}

fn fell(about: About, node: &str, what: &str, before: Said, now: Said) -> About {
    about.node(node).at(now.at).says(format!(
        "{node} said at {} that {what} is {}, and at {} that it is {}.",
        moment(before.at),
        before.value,
        moment(now.at),
        now.value
    ))
}
