//! What was asked, answered and seen, and the laws about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use dledger::sim::{self, SimCluster};
use dledger::{Ack, AppendError, Outcome, Record, Role};

/// All appends, and all that was ever seen committed.
#[derive(Default)]
pub(super) struct History {
    appends: Vec<Append>,
    /// By index.
    committed: Vec<Record>,
    masters: BTreeMap<u64, usize>,
    /// Per node: start, term, index up to which it was looked at.
    nodes: BTreeMap<usize, Node>,
    pub(super) acked: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
}

struct Append {
    bodies: Vec<Bytes>,
    called: Duration,
    answered: Duration,
    outcome: Result<Vec<Ack>, Outcome>,
}

#[derive(Default)]
struct Node {
    start: u64,
    term: u64,
    upto: u64,
}

impl History {
    pub(super) fn answered(&mut self, bodies: Vec<Bytes>, called: Duration, outcome: Result<Vec<Ack>, AppendError>) {
        let outcome = outcome.map_err(|error| error.outcome());
        match &outcome {
            Ok(_) => self.acked += bodies.len() as u64,
            Err(Outcome::Unknown) => self.unknown += bodies.len() as u64,
            Err(Outcome::Refused) => self.refused += bodies.len() as u64,
        }
        self.appends.push(Append { bodies, called, answered: sim::now(), outcome });
    }

    /// How far node `i` was looked at in its present life.
    pub(super) fn upto(&mut self, cluster: &SimCluster, i: usize) -> u64 {
        let node = self.nodes.entry(i).or_default();
        if node.start != cluster.starts(i) {
            // The term stays: a vote is durable before anybody hears of it.
            *node = Node { start: cluster.starts(i), term: node.term, upto: 0 };
        }
        node.upto
    }

    /// Looks at a node: terms rise, a term has one master, committed records never change.
    pub(super) fn look(&mut self, i: usize, role: &Role, term: u64, records: &[Record], faulty: bool) {
        let node = self.nodes.entry(i).or_default();
        // 0 is what a node shows before it has read its own; one that closed may have failed to save what it shows.
        if term > 0 && !matches!(role, Role::Closed { .. }) {
            assert!(node.term <= term, "the term of node {i} fell from {} to {term}", node.term);
            node.term = term;
        }
        match role {
            Role::Master { term } => {
                let master = *self.masters.entry(*term).or_insert(i);
                assert_eq!(master, i, "term {term} has two masters");
            }
            Role::Closed { reason } => assert!(faulty, "node {i} closed by itself: {reason}"),
            _ => {}
        }
        for record in records {
            match self.committed.get(record.index as usize) {
                Some(known) => assert!(known == record, "committed index {} is another on node {i}", record.index),
                None => {
                    assert_eq!(record.index, self.committed.len() as u64, "node {i} has a hole");
                    // A copy: the bytes are in a file that may be removed, and would be kept.
                    let body = Bytes::copy_from_slice(&record.body);
                    self.committed.push(Record { body, ..record.clone() });
                }
            }
            node.upto = record.index + 1;
        }
    }

    /// Compares what was answered with all that was ever seen committed. `log` is what is left of it.
    pub(super) fn check(&self, log: &[Record]) {
        let from = log.first().map_or(0, |record| record.index as usize);
        assert!(self.committed[from..] == *log, "what is left is what was seen");
        let log = &self.committed[..];
        assert!(log.windows(2).all(|pair| pair[0].position < pair[1].position), "positions rise");
        assert!(log.windows(2).all(|pair| pair[0].term <= pair[1].term), "terms rise");
        let mut places: BTreeMap<&Bytes, u64> = BTreeMap::new();
        for record in log {
            let twice = places.insert(&record.body, record.index);
            assert_eq!(twice, None, "{:?} is in the log twice", head(&record.body));
        }
        let mut asked = BTreeSet::new();
        for append in &self.appends {
            asked.extend(&append.bodies);
            let found: Vec<_> = append.bodies.iter().map(|body| places.get(body).copied()).collect();
            match &append.outcome {
                Ok(acks) => {
                    let acked: Vec<_> = acks.iter().map(|ack| Some(ack.index)).collect();
                    assert_eq!(found, acked, "acknowledged: {:?}", head(&append.bodies[0]));
                    for ack in acks {
                        let record = &log[ack.index as usize];
                        assert_eq!((record.position, record.term), (ack.position, ack.term));
                    }
                }
                Err(Outcome::Refused) => {
                    assert!(found.iter().all(Option::is_none), "refused but in the log: {:?}", head(&append.bodies[0]));
                }
                Err(Outcome::Unknown) => {}
            }
            let together = found.windows(2).all(|pair| match (pair[0], pair[1]) {
                (Some(one), Some(two)) => one + 1 == two,
                (one, two) => one == two,
            });
            assert!(together, "a batch was torn: {found:?}");
        }
        assert!(places.keys().all(|body| asked.contains(body)), "a record nobody appended");
        self.check_order(&places);
    }

    /// What was answered before something else was asked for lies before it in the log.
    fn check_order(&self, places: &BTreeMap<&Bytes, u64>) {
        let place = |append: &&Append| places.get(&append.bodies[0]).copied();
        let mut there: Vec<_> = self.appends.iter().filter(|append| place(append).is_some()).collect();
        there.sort_by_key(place);
        let mut latest_call = Duration::ZERO;
        for append in there {
            let ended = append.outcome.is_err() || append.answered >= latest_call;
            assert!(ended, "{:?} lies behind a record asked for later", head(&append.bodies[0]));
            latest_call = latest_call.max(append.called);
        }
    }
}

fn head(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(24)]).trim_end_matches('.').to_owned()
}
