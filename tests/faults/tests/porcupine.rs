//! The judge and a general linearizability checker agree on random short histories.
//!
//! `dledger_history` knows the log in the end and needs one pass; porcupine knows nothing but a model and searches all
//! orders. Where they disagree, one of them is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

use std::collections::HashMap;

use dledger::Consistency::{Lease, Linearizable, Local};
use dledger_history::{Acked, Answer, Begin, Call, Event, FORMAT, Hash, Item, Law, Replica, Verdict, What, check};
use dledger_sim::Rng;
use porcupine_rs::{Model, Operation, check_operations};

const HISTORIES: u64 = 21_000;

/// A call with its answer; none if nobody knows it.
#[derive(Debug, Clone)]
struct Done {
    called: u64,
    answered: u64,
    call: Call,
    answer: Option<Answer>,
}

#[derive(Debug, Clone)]
struct Short {
    calls: Vec<Done>,
    log: Vec<Hash>,
}

fn item(index: u64, hash: Hash) -> Item {
    Item { index, position: 10 * index, term: 1, hash }
}

fn acks(from: u64, count: usize) -> Answer {
    let ack = |index| Acked { index, position: 10 * index, term: 1 };
    Answer::Acked { acks: (from..from + count as u64).map(ack).collect() }
}

/// A history that is in order: calls take effect one after the other, and lie around their moments. Moments are few, so
/// that many are equal.
fn in_order(random: &mut Rng) -> Short {
    let mut short = Short { calls: Vec::new(), log: Vec::new() };
    let (mut now, mut bodies) = (100, 0u64);
    for _ in 0..3 + random.below(11) {
        now += random.below(4);
        let (called, answered) = (now - random.below(12), now + random.below(12));
        let end = short.log.len() as u64;
        let (call, answer) = match random.below(10) {
            0..5 => {
                let count = if random.one_in(3) { 2 + random.below(2) } else { 1 };
                let records: Vec<Hash> = (bodies..bodies + count).map(|n| Hash::of(&n.to_le_bytes())).collect();
                bodies += count;
                let known = random.below(12);
                if known != 0 {
                    short.log.extend(&records);
                }
                let answer = (known > 2).then(|| acks(end, records.len()));
                (Call::Append { records, session: None }, answer)
            }
            5..8 => {
                let index = random.below(end + 2);
                let local = random.one_in(3);
                // What a local read knows may be late; what it finds is there.
                let knows = if local { random.below(end + 1) } else { end };
                let answer = match short.log.get(index as usize).filter(|_| index < knows) {
                    Some(hash) => Answer::Found { records: vec![item(index, *hash)] },
                    None => Answer::Absent { index },
                };
                let consistency = if local { Local } else { Linearizable };
                (Call::Get { index, consistency, node: None }, Some(answer))
            }
            _ => {
                let (from, count) = (random.below(end + 1), 1 + random.below(4));
                let found = (from..end).take(count as usize).map(|index| item(index, short.log[index as usize]));
                let records: Vec<_> = found.collect();
                let answer =
                    if records.is_empty() { Answer::Absent { index: from } } else { Answer::Found { records } };
                (Call::Read { from, count, consistency: Lease, node: None }, Some(answer))
            }
        };
        short.calls.push(Done { called, answered, call, answer });
    }
    short
}

/// One thing is changed that may be wrong then, and need not.
fn disturbed(mut short: Short, random: &mut Rng) -> Short {
    let (calls, end) = (short.calls.len() as u64, short.log.len() as u64);
    if end > 0 && random.one_in(4) {
        // A record was found, and the one behind it, which may be of the same append, was not.
        let index = random.below(end);
        let finds = if random.one_in(2) { Local } else { Linearizable };
        let records = vec![item(index, short.log[index as usize])];
        let found = (index, finds, Answer::Found { records });
        for (index, consistency, answer) in [found, (index + 1, Linearizable, Answer::Absent { index: index + 1 })] {
            let near = &short.calls[random.below(calls) as usize];
            let (called, answered) = (near.called, near.answered);
            let call = Call::Get { index, consistency, node: None };
            short.calls.push(Done { called, answered, call, answer: Some(answer) });
        }
        return short;
    }
    let victim = random.below(calls) as usize;
    let done = &mut short.calls[victim];
    match random.below(7) {
        // It was at another time.
        0 | 1 => {
            let by = random.below(80);
            (done.called, done.answered) =
                ((done.called + by).saturating_sub(40), (done.answered + by).saturating_sub(40));
        }
        // It was told something else.
        2 | 3 => match (&mut done.answer, &done.call) {
            (Some(answer @ Answer::Found { .. }), Call::Get { index, .. } | Call::Read { from: index, .. }) => {
                *answer = Answer::Absent { index: *index };
            }
            (Some(answer @ Answer::Absent { .. }), Call::Get { index, .. }) if *index < end => {
                *answer = Answer::Found { records: vec![item(*index, short.log[*index as usize])] };
            }
            (Some(answer @ Answer::Acked { .. }), Call::Append { records, .. }) => {
                *answer = acks(random.below(end + 1), records.len());
            }
            _ => {}
        },
        // The log became something else.
        4 if end > 1 => {
            let (one, two) = (random.below(end) as usize, random.below(end) as usize);
            short.log.swap(one, two);
        }
        5 => drop(short.log.pop()),
        _ if end > 0 => {
            let again = short.log[random.below(end) as usize];
            short.log.push(again);
        }
        _ => short.log.push(Hash::of(b"nobody's")),
    }
    short
}

// --- the judge ---

fn events(short: &Short) -> Vec<Event> {
    let begin = Begin {
        format: FORMAT,
        run: "random".to_owned(),
        seed: None,
        replay: None,
        nodes: vec!["n0".to_owned()],
        retention: false,
    };
    let mut events = vec![Event { at: 0, what: What::Begin(begin) }];
    for (op, done) in (0..).zip(&short.calls) {
        let call = What::Invoke { client: op, op, call: done.call.clone() };
        events.push(Event { at: done.called, what: call });
        let answer = match &done.answer {
            Some(answer) => What::Ok { op, answer: answer.clone() },
            None => What::Unknown { op, error: "timeout".to_owned() },
        };
        events.push(Event { at: done.answered, what: answer });
    }
    events.sort_by_key(|event| event.at);
    let records = (0..).zip(&short.log).map(|(index, hash)| item(index, *hash)).collect();
    let end = short.log.len() as u64;
    let replica = Replica { node: "n0".to_owned(), first: 0, end, chain: None, records };
    events.push(Event { at: 10_000, what: What::Replica(replica) });
    events
}

// --- porcupine ---

#[derive(Debug, Clone)]
enum Step {
    Append { records: Vec<Hash>, at: Option<Vec<u64>> },
    Found { from: u64, records: Vec<Hash> },
    Absent { index: u64 },
    Whole { log: Vec<Hash> },
}

#[derive(Debug, Clone)]
struct Log;

impl Model for Log {
    type State = Vec<Hash>;
    type Op = Step;
    type Metadata = ();

    fn init() -> Vec<Hash> {
        Vec::new()
    }

    fn step(log: &Vec<Hash>, step: &Step) -> (bool, Vec<Hash>) {
        let possible = match step {
            Step::Append { at: None, .. } => true,
            Step::Append { at: Some(at), .. } => at.iter().copied().eq((log.len() as u64..).take(at.len())),
            Step::Found { from, records } => log.get(*from as usize..).is_some_and(|tail| tail.starts_with(records)),
            Step::Absent { index } => *index >= log.len() as u64,
            Step::Whole { log: whole } => log == whole,
        };
        let mut after = log.clone();
        if let Step::Append { records, .. } = step {
            after.extend(records);
        }
        (possible, after)
    }
}

/// Twice the time, and answers half a moment later: of two events of one moment neither came first.
fn operation(client: usize, called: u64, answered: Option<u64>, op: Step) -> Operation<Log> {
    let return_time = answered.map_or(i64::MAX, |at| 2 * at as i64 + 1);
    Operation { client_id: Some(client as u32), call_time: 2 * called as i64, return_time, op, metadata: None }
}

fn in_some_order(short: &Short) -> bool {
    let mut operations = Vec::new();
    for (client, done) in short.calls.iter().enumerate() {
        let step = match (&done.call, &done.answer) {
            (Call::Append { records, .. }, answer) => {
                let at = match answer {
                    Some(Answer::Acked { acks }) => Some(acks.iter().map(|ack| ack.index).collect()),
                    _ => None,
                };
                Step::Append { records: records.clone(), at }
            }
            (_, Some(Answer::Found { records })) => {
                Step::Found { from: records[0].index, records: records.iter().map(|item| item.hash).collect() }
            }
            // It may be late: it can have been so at any time.
            (Call::Get { consistency: Local, .. }, Some(Answer::Absent { .. })) => continue,
            (_, Some(Answer::Absent { index })) => Step::Absent { index: *index },
            other => panic!("{other:?}"),
        };
        operations.push(operation(client, done.called, done.answer.is_some().then_some(done.answered), step));
    }
    // What is unknown may still come behind it: then it was never there.
    operations.push(operation(operations.len(), 10_000, Some(10_000), Step::Whole { log: short.log.clone() }));
    check_operations(&operations)
}

#[test]
fn a_general_checker_agrees_with_the_judge() {
    let (mut right, mut wrong, mut laws) = (0, 0, HashMap::<Law, u64>::new());
    for seed in 0..HISTORIES {
        let mut random = Rng::new(seed);
        let mut short = in_order(&mut random);
        let disturb = seed % 7 == 0;
        if disturb {
            short = disturbed(short, &mut random);
        }
        let report = check(events(&short));
        assert_ne!(report.verdict, Verdict::Invalid, "seed {seed}: {report:#?}\n{short:#?}");
        let (judge, general) = (report.verdict == Verdict::Pass, in_some_order(&short));
        assert_eq!(judge, general, "seed {seed}, left the judge: {report:#?}\n{short:#?}");
        assert!(judge || disturb, "seed {seed}: {report:#?}\n{short:#?}");
        if judge {
            right += 1
        } else {
            wrong += 1
        }
        report.counts.violations.into_keys().for_each(|law| *laws.entry(law).or_default() += 1);
    }
    println!("{HISTORIES} histories: {right} in order, {wrong} not, by {laws:?}");
    assert!(wrong * 100 / HISTORIES >= 5, "only {wrong} of {HISTORIES} are wrong");
    for law in [Law::Acked, Law::Read, Law::RealTime, Law::Batch, Law::Twice, Law::Phantom] {
        assert!(laws.contains_key(&law), "{law} was never broken: {laws:?}");
    }
}
