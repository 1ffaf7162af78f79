//! The log as clients saw it while it grew, and as the replicas hold it in the end.

use std::collections::HashMap;

use crate::calls::CallId;
use crate::findings::Findings;
use crate::{Hash, Item, Law, Replica};

/// A record at its place, without its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) position: u64,
    pub(super) term: u64,
    pub(super) hash: Hash,
}

impl Content {
    /// `record 2cf24dba… at position 40 in term 2`.
    pub(super) fn words(&self) -> String {
        let hash = self.hash.to_string();
        format!("record {}… at position {} in term {}", &hash[..8], self.position, self.term)
    }
}

impl From<&Item> for Content {
    fn from(item: &Item) -> Self {
        Self { position: item.position, term: item.term, hash: item.hash }
    }
}

/// A moment, and the call that makes it a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) at: u64,
    pub(super) call: CallId,
}

/// What calls claim of an index.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) content: Content,
    /// The append that was acknowledged with it.
    pub(super) acked: Option<CallId>,
    /// The first reader that saw it, and when.
    pub(super) seen: Option<Bound>,
    /// The earliest moment by which it was there: an ack, or that somebody saw it. A local read may be late, and yet
    /// what it sees is committed.
    pub(super) by: Option<Bound>,
}

impl Claim {
    fn new(content: Content) -> Self {
        Self { content, acked: None, seen: None, by: None }
    }

    fn by(&mut self, bound: Bound) {
        if self.by.is_none_or(|earlier| bound.at < earlier.at) {
            self.by = Some(bound);
        }
    }
}

/// All claims of an index: one, if all is well.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) first: Claim,
    pub(super) others: Vec<Claim>,
}

impl Claims {
    pub(super) fn all(&self) -> impl Iterator<Item = &Claim> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// What the replicas hold at an index.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) content: Content,
    /// The first replica that was read.
    replica: usize,
    /// What other replicas hold instead.
    pub(super) others: Vec<Content>,
}

impl Held {
    /// Whether any replica holds it so. A difference between replicas is reported once, and not again for each call.
    pub(super) fn has(&self, content: &Content) -> bool {
        self.content == *content || self.others.contains(content)
    }
}

/// A replica that was read in the end.
#[derive(Debug)]
struct Read {
    first: u64,
    end: u64,
    /// The index of its next record.
    next: u64,
}

/// The log.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) claims: HashMap<u64, Claims>,
    pub(super) held: HashMap<u64, Held>,
    /// Of the calls that promise a current answer, the latest that found nothing at the index.
    pub(super) absent: HashMap<u64, Bound>,
    names: Vec<String>,
    replicas: Vec<Read>,
    pub(super) records_compared: u64,
}

impl Log {
    fn claim(&mut self, index: u64, content: Content) -> &mut Claim {
        let claims = self.claims.entry(index);
        let claims = claims.or_insert_with(|| Claims { first: Claim::new(content), others: Vec::new() });
        if claims.first.content == content {
            return &mut claims.first;
        }
        let known = claims.others.iter().position(|claim| claim.content == content);
        let at = known.unwrap_or_else(|| {
            claims.others.push(Claim::new(content));
            claims.others.len() - 1
        });
        &mut claims.others[at]
    }

    /// An append was told that its record is there.
    pub(super) fn acked(&mut self, index: u64, content: Content, bound: Bound) {
        let claim = self.claim(index, content);
        claim.acked = Some(bound.call);
        claim.by(bound);
    }

    /// A reader saw a record.
    pub(super) fn seen(&mut self, item: &Item, bound: Bound) {
        let claim = self.claim(item.index, item.into());
        claim.seen.get_or_insert(bound);
        claim.by(bound);
    }

    /// A call that promises a current answer found nothing at `index`. It counts from the moment it was called.
    pub(super) fn absent(&mut self, index: u64, bound: Bound) {
        let latest = self.absent.entry(index).or_insert(bound);
        if bound.at > latest.at {
            *latest = bound;
        }
    }

    /// Some records of a replica.
    pub(super) fn replica(&mut self, at: u64, replica: &Replica, findings: &mut Findings) {
        let Replica { node, first, end, records, .. } = replica;
        let known = self.names.iter().position(|known| known == node);
        let number = known.unwrap_or_else(|| {
            self.names.push(node.clone());
            self.replicas.push(Read { first: *first, end: *end, next: *first });
            self.names.len() - 1
        });
        let read = &mut self.replicas[number];
        if (read.first, read.end) != (*first, *end) {
            let was = (read.first, read.end);
            findings.invalid(|| {
                format!(
                    "the replica of {node} holds {} to {} by one line, and {first} to {end} by another",
                    was.0, was.1
                )
            });
        }
        for item in records {
            let index = item.index;
            if index != read.next || index >= read.end {
                let expected = if read.next < read.end { format!("index {}", read.next) } else { "its end".to_owned() };
                findings.broken(Law::Dense, |about| {
                    about.index(index).node(node).at(at).says(format!(
                        "The replica of {node} has the record of index {index} where {expected} was to come."
                    ))
                });
            }
            read.next = index.saturating_add(1);
            self.records_compared += 1;
            let content = Content::from(item);
            let held = self.held.entry(index);
            let held = held.or_insert_with(|| Held { content, replica: number, others: Vec::new() });
            if held.content != content {
                held.others.push(content);
                let other = &self.names[held.replica];
                findings.broken(Law::Replicas, |about| {
                    let (one, two) = (held.content.words(), content.words());
                    about
                        .index(index)
                        .node(other)
                        .node(node)
                        .at(at)
                        .says(format!("At index {index}, {other} has the {one}, and {node} the {two}."))
                });
            }
        }
    }

    /// How many replicas were read.
    pub(super) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// The index after the last record that any replica has; none if none was read.
    pub(super) fn end(&self) -> Option<u64> {
        self.replicas.iter().map(|read| read.end).max()
    }

    /// Of each replica, the index after its last record.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().zip(&self.replicas).map(|(name, read)| (name.as_str(), read.end))
    }

    /// Whether a replica is known to lack the record at `index`, having those around it, or all of them do.
    pub(super) fn lacks(&self, index: u64) -> bool {
        let covered = self.replicas.iter().any(|read| (read.first..read.next.min(read.end)).contains(&index));
        covered || self.end().is_some_and(|end| end <= index)
    }

    /// What was read of the replicas is what they hold.
    pub(super) fn finish(&self, findings: &mut Findings) {
        if self.replicas.is_empty() {
            findings.invalid(|| "no replica was read in the end: what the log became is not known".to_owned());
        }
        for (name, read) in self.names.iter().zip(&self.replicas) {
            if read.next < read.end {
                findings.invalid(|| {
                    format!("of the replica of {name} only the records below {} of {} were read", read.next, read.end)
                });
            }
        }
    }
}
