//! Random histories that are in order pass, with less known of them too; one thing changed is found.

use std::ops::Range;

use dledger::Consistency::{Lease, Linearizable};
use dledger_history::{Answer, Call, Event, Hash, Item, Law, NodeStatusEvent, Report, Verdict, What, check};
use dledger_sim::Rng;

use super::world::World;

const SEEDS: Range<u64> = 0..150;

#[test]
fn what_is_in_order_passes() {
    let (mut records, mut removed, mut promised) = (0, 0, 0);
    for seed in SEEDS {
        let events = World::history(seed);
        removed += u64::from(events.iter().any(|e| matches!(&e.what, What::Replica(replica) if replica.first > 0)));
        let report = check(events);
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report:#?}");
        records += report.counts.records;
        promised += report.counts.reads_promised;
    }
    assert!(records > 1000 && removed > 50 && promised > 1000, "{records} {removed} {promised}");
}

#[test]
fn to_know_less_breaks_nothing() {
    for seed in SEEDS {
        let mut random = Rng::new(seed);
        let mut events = World::history(seed);
        for event in &mut events {
            match &event.what {
                What::Ok { op, answer } if !matches!(answer, Answer::Done) && random.one_in(3) => {
                    event.what = What::Unknown { op: *op, error: "forgotten".to_owned() };
                }
                What::Status(_) if random.one_in(2) => event.what = What::Note { text: "forgotten".to_owned() },
                _ => {}
            }
        }
        let report = check(events);
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report:#?}");
    }
}

/// What is changed, and the laws of which at least one is broken then, and no others.
type Change = (&'static str, fn(&mut Vec<Event>, &mut Rng) -> bool, &'static [Law]);

const CHANGES: &[Change] = &[
    ("an acknowledged record is lost", |events, random| lose(events, random), &[Law::Acked, Law::Committed]),
    (
        "a replica has another record",
        |events, random| replica_record(events, random, |item| item.hash = other()),
        &[Law::Replicas],
    ),
    (
        "a replica has it elsewhere",
        |events, random| replica_record(events, random, |item| item.position += 1),
        &[Law::Replicas],
    ),
    (
        "an ack names another place",
        |events, random| acked_elsewhere(events, random),
        &[Law::Acked, Law::Batch, Law::Removed, Law::Read],
    ),
    (
        "a read sees another record",
        |events, random| found(events, random, |item| item.hash = other()),
        &[Law::Read, Law::Removed],
    ),
    (
        "a read sees another index",
        |events, random| found(events, random, |item| item.index += 1),
        &[Law::Dense, Law::Read, Law::Removed, Law::Twice, Law::Position, Law::RealTime],
    ),
    ("a late read finds nothing", stale, &[Law::RealTime]),
    (
        "what was acknowledged is said to have failed",
        |events, random| failed(events, random),
        &[Law::Failed, Law::Batch],
    ),
    ("a record is there twice", |events, random| twice(events, random), &[Law::Twice]),
    ("a chain value is another", chain, &[Law::Chain]),
    (
        "a term has two masters",
        |events, random| status(events, random, |s| s.node = "n9".to_owned()),
        &[Law::OneMaster],
    ),
    (
        "a term falls",
        |events, random| status(events, random, |s| (s.term, s.role) = (0, "slave".to_owned())),
        &[Law::NodeTerm],
    ),
    (
        "what is committed falls",
        |events, random| status(events, random, |s| s.committed -= 1),
        &[Law::CommittedFell, Law::Pointers],
    ),
    (
        "more is durable than there is",
        |events, random| status(events, random, |s| s.durable = s.end + 1),
        &[Law::Pointers],
    ),
    (
        "a node begins where nobody asked it to",
        |events, random| begins_late(events, random),
        &[Law::Retention, Law::Pointers, Law::FirstFell],
    ),
];

#[test]
fn one_thing_changed_is_found() {
    for (what, change, laws) in CHANGES {
        let mut changed = 0;
        for seed in SEEDS {
            let mut events = World::history(seed);
            if !change(&mut events, &mut Rng::new(seed)) {
                continue;
            }
            changed += 1;
            let report = check(events);
            assert_eq!(report.verdict, Verdict::Fail, "{what}, seed {seed}: {report:#?}");
            assert!(only(&report, laws), "{what}, seed {seed}, expected {laws:?}: {report:#?}");
        }
        assert!(changed > 50, "{what}: only {changed} times");
    }
}

fn only(report: &Report, laws: &[Law]) -> bool {
    report.counts.violations.keys().all(|law| laws.contains(law))
}

fn other() -> Hash {
    Hash::of(b"what nobody appended")
}

/// One of the events that `wanted` takes.
fn one_of(events: &[Event], random: &mut Rng, wanted: impl Fn(&What) -> bool) -> Option<usize> {
    let all: Vec<_> = (0..events.len()).filter(|n| wanted(&events[*n].what)).collect();
    (!all.is_empty()).then(|| all[random.below(all.len() as u64) as usize])
}

fn replicas(events: &mut [Event]) -> impl Iterator<Item = &mut dledger_history::Replica> {
    events.iter_mut().filter_map(|event| match &mut event.what {
        What::Replica(replica) => Some(replica),
        _ => None,
    })
}

fn lose(events: &mut [Event], _: &mut Rng) -> bool {
    let Some(last) = replicas(events).next().and_then(|replica| replica.records.last().copied()) else { return false };
    let acked = |event: &Event| match &event.what {
        What::Ok { answer: Answer::Acked { acks }, .. } => acks.iter().any(|ack| ack.index == last.index),
        _ => false,
    };
    if !events.iter().any(acked) {
        return false;
    }
    for replica in replicas(events).filter(|replica| replica.end > last.index) {
        replica.end = last.index;
        replica.chain = None;
        replica.records.pop();
    }
    true
}

fn replica_record(events: &mut [Event], random: &mut Rng, change: fn(&mut Item)) -> bool {
    // One that all of them have.
    let held = replicas(events).map(|replica| replica.records.len() as u64).min().unwrap_or(0);
    let Some(replica) = replicas(events).nth(1).filter(|_| held > 0) else { return false };
    change(&mut replica.records[random.below(held) as usize]);
    true
}

fn acked_elsewhere(events: &mut [Event], random: &mut Rng) -> bool {
    let first = replicas(events).next().map_or(0, |replica| replica.first);
    let acks = |what: &What| match what {
        What::Ok { answer: Answer::Acked { acks }, .. } => acks.iter().any(|ack| ack.index > first),
        _ => false,
    };
    let Some(n) = one_of(events, random, acks) else { return false };
    let What::Ok { answer: Answer::Acked { acks }, .. } = &mut events[n].what else { return false };
    acks.iter_mut().for_each(|ack| ack.index += 1 + random.below(3));
    true
}

fn found(events: &mut [Event], random: &mut Rng, change: fn(&mut Item)) -> bool {
    let first = replicas(events).next().map_or(0, |replica| replica.first);
    let found = |what: &What| match what {
        What::Ok { answer: Answer::Found { records }, .. } => records.first().is_some_and(|item| item.index >= first),
        _ => false,
    };
    let Some(n) = one_of(events, random, found) else { return false };
    let What::Ok { answer: Answer::Found { records }, .. } = &mut events[n].what else { return false };
    change(&mut records[0]);
    true
}

fn stale(events: &mut Vec<Event>, random: &mut Rng) -> bool {
    let acked = |what: &What| matches!(what, What::Ok { answer: Answer::Acked { .. }, .. });
    let Some(n) = one_of(events, random, acked) else { return false };
    let What::Ok { answer: Answer::Acked { acks }, .. } = &events[n].what else { return false };
    let (index, after) = (acks[0].index, events[n].at + 1);
    let at = events.partition_point(|event| event.at < after);
    let consistency = if random.one_in(2) { Lease } else { Linearizable };
    let call = Call::Get { index, consistency, node: None };
    let answer = Answer::Absent { index };
    let get = [What::Invoke { client: 0, op: 1 << 40, call }, What::Ok { op: 1 << 40, answer }];
    events.splice(at..at, get.map(|what| Event { at: after, what }));
    true
}

fn failed(events: &mut [Event], random: &mut Rng) -> bool {
    let first = replicas(events).next().map_or(0, |replica| replica.first);
    let acks = |what: &What| match what {
        What::Ok { answer: Answer::Acked { acks }, .. } => acks.iter().any(|ack| ack.index >= first),
        _ => false,
    };
    let Some(n) = one_of(events, random, acks) else { return false };
    let What::Ok { op, .. } = &events[n].what else { return false };
    events[n].what = What::Fail { op: *op, error: "it said".to_owned() };
    true
}

fn twice(events: &mut [Event], random: &mut Rng) -> bool {
    let Some(held) = replicas(events).map(|replica| replica.records.len() as u64).min() else { return false };
    if held == 0 {
        return false;
    }
    for replica in replicas(events) {
        let mut again = replica.records[random.below(held) as usize];
        if replica.node != "n0" {
            continue;
        }
        again.index = replica.end;
        again.position = u64::MAX;
        again.term = u64::MAX;
        replica.records.push(again);
        replica.end += 1;
    }
    true
}

fn chain(events: &mut Vec<Event>, random: &mut Rng) -> bool {
    let chained = |what: &What| matches!(what, What::Status(status) if status.chain.is_some());
    let Some(n) = one_of(events, random, chained) else { return false };
    let mut event = events[n].clone();
    let What::Status(NodeStatusEvent { chain: Some(chain), .. }) = &mut event.what else { return false };
    chain.value += 1;
    events.insert(n, event);
    true
}

/// The node says it again, and otherwise.
fn status(events: &mut Vec<Event>, random: &mut Rng, change: fn(&mut NodeStatusEvent)) -> bool {
    let said = |what: &What| matches!(what, What::Status(status) if status.committed > 0);
    let Some(n) = one_of(events, random, said) else { return false };
    let mut event = events[n].clone();
    let What::Status(status) = &mut event.what else { return false };
    status.chain = None;
    change(status);
    events.insert(n + 1, event);
    true
}

fn begins_late(events: &mut Vec<Event>, random: &mut Rng) -> bool {
    status(events, random, |status| status.first = status.committed + 1000)
}
