//! One history for each way to break each law.

use dledger::Consistency::{Lease, Linearizable, Local};
use dledger_history::{Answer, Call, Law, Verdict, What, check};

use super::build::{Build, hash, item, items, status};

/// The history breaks that law, once, and no other. What is said of it.
#[track_caller]
pub fn breaks(build: Build, law: Law, says: &[&str]) {
    let report = check(build.events);
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    assert_eq!(report.counts.violations, [(law, 1)].into(), "{report:#?}");
    assert_eq!(report.invalid, Vec::<String>::new());
    let said = &report.violations[0];
    for part in says {
        assert!(said.explanation.contains(part), "{part:?} is not said: {said:#?}");
    }
}

#[track_caller]
pub fn holds(build: Build) {
    let report = check(build.events);
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
}

#[test]
fn a_history_with_everything_in_it_passes() {
    let mut build = Build::new();
    build.push(What::Status(status("n0", "master", 1, 0, 0)));
    build.appended(1, 0, &["a"]);
    // Two under way at once, and the one called first comes second.
    let (one, two) = (build.append(1, &["c", "d"], None), build.append(2, &["b"], None));
    build.acked(two, 1, 1);
    build.acked(one, 2, 2);
    let (known, lost) = (build.append(1, &["e", "f"], None), build.append(2, &["lost"], None));
    build.unknown(known);
    build.unknown(lost);
    let refused = build.append(2, &["refused"], None);
    build.fail(refused);
    let (third, fourth) = (build.append(3, &["g"], Some(1)), build.append(3, &["h"], Some(1)));
    build.acked(fourth, 7, 1);
    build.acked(third, 6, 1);
    for consistency in [Local, Lease, Linearizable] {
        build.got(4, 3, "d", consistency);
        build.nothing(4, 8, consistency);
    }
    // A local read may be late; it never lies.
    build.nothing(4, 2, Local);
    let read = build.call(4, Call::Read { from: 2, count: 9, consistency: Lease, node: Some("n1".into()) });
    build.ok(read, Answer::Found { records: items(2, &["c", "d", "e"]) });
    let tail = build.call(5, Call::Tail { from: 1, node: None });
    for (index, body) in (1..).zip(["b", "c", "d"]) {
        build.push(What::Seen { op: tail, records: vec![item(index, body)] });
    }
    build.ok(tail, Answer::Found { records: Vec::new() });
    build.faulted(1, "kill", "n0");
    build.push(What::Status(status("n1", "master", 2, 0, 8)));
    let transfer = build.call(6, Call::Transfer { to: "n2".into() });
    build.ok(transfer, Answer::Done);
    let remove = build.call(6, Call::RemoveBelow { index: 2, node: "n2".into() });
    build.ok(remove, Answer::Done);
    let gone = build.get(4, 0, Local);
    build.ok(gone, Answer::Removed { first: 2 });
    build.appended(1, 8, &["i"]);
    // Never answered.
    build.append(1, &["j"], None);
    let log = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    build.replica("n0", 0, &log);
    // This one is a record behind.
    build.replica("n1", 0, &log[..8]);
    build.replica("n2", 2, &log[2..]);

    let report = check(build.events);
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    let counts = report.counts;
    assert_eq!((counts.appends, counts.appends_acked, counts.appends_failed, counts.appends_unknown), (10, 6, 1, 3));
    assert_eq!((counts.records_acked, counts.reads, counts.reads_promised, counts.records_read), (7, 9, 5, 9));
    assert_eq!((counts.replicas, counts.records, counts.records_compared, counts.chains), (3, 9, 24, 3));
    assert_eq!((counts.statuses, counts.other_calls, counts.faults), (2, 3, [("kill".to_owned(), 1)].into()));
}

#[test]
fn what_was_acknowledged_is_there() {
    let mut lost = Build::new();
    lost.appended(1, 0, &["a"]);
    lost.appended(1, 1, &["b"]);
    lost.replicas(&["a"]);
    breaks(
        lost,
        Law::Acked,
        &["Call 1 (client 1's append, called at 3.0", "acknowledged at index 1", "ends at index 1"],
    );

    let mut moved = Build::new();
    moved.appended(1, 0, &["a"]);
    let other = moved.append(2, &["x"], None);
    moved.unknown(other);
    moved.replicas(&["x", "a"]);
    breaks(moved, Law::Acked, &["index 0 holds the record", "of call 1", "It is at index 1"]);

    let mut elsewhere = Build::new();
    let op = elsewhere.append(1, &["a"], None);
    let ack = dledger_history::Acked { index: 0, position: 7, term: 1 };
    elsewhere.ok(op, Answer::Acked { acks: vec![ack] });
    elsewhere.replicas(&["a"]);
    breaks(elsewhere, Law::Acked, &["at position 1000 in term 1, and not", "at position 7"]);
}

#[test]
fn what_was_read_is_there() {
    for consistency in [Local, Lease, Linearizable] {
        let mut uncommitted = Build::new();
        uncommitted.appended(1, 0, &["a"]);
        let op = uncommitted.append(1, &["b"], None);
        uncommitted.unknown(op);
        uncommitted.got(2, 1, "b", consistency);
        uncommitted.replicas(&["a"]);
        breaks(uncommitted, Law::Read, &["index 1", "nowhere in the log"]);
    }

    let mut phantom = Build::new();
    phantom.appended(1, 0, &["a"]);
    let tail = phantom.call(2, Call::Tail { from: 0, node: None });
    phantom.push(What::Seen { op: tail, records: vec![item(0, "z")] });
    phantom.replicas(&["a"]);
    breaks(phantom, Law::Read, &["tail from 0", "In the end, index 0 holds", "Nobody appended that record"]);
}

#[test]
fn what_a_node_called_committed_is_there() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    build.push(What::Status(status("n1", "slave", 1, 0, 2)));
    build.replicas(&["a"]);
    breaks(build, Law::Committed, &["n1 said at 3.0", "that 2 records are committed", "from index 1 on"]);

    // An append of unknown outcome may arrive after the replicas were read.
    let mut late = Build::new();
    late.appended(1, 0, &["a"]);
    late.append(2, &["b"], None);
    late.replicas(&["a"]);
    late.push(What::Status(status("n1", "slave", 1, 0, 2)));
    holds(late);
}

#[test]
fn replicas_are_equal() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    let op = build.append(1, &["b"], None);
    build.unknown(op);
    build.replica("n0", 0, &["b"]);
    build.replica("n1", 0, &["a"]);
    build.replica("n2", 0, &["b"]);
    breaks(build, Law::Replicas, &["At index 0, n0 has the record", "and n1 the record"]);
}

#[test]
fn of_what_was_removed_all_saw_the_same() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    build.appended(1, 1, &["b"]);
    let op = build.append(1, &["x"], None);
    build.unknown(op);
    build.got(2, 0, "x", Local);
    let remove = build.call(6, Call::RemoveBelow { index: 1, node: "n0".into() });
    build.ok(remove, Answer::Done);
    for node in ["n0", "n1", "n2"] {
        build.replica(node, 1, &["b"]);
    }
    breaks(build, Law::Removed, &["At index 0, call 0", "and call 3"]);
}

#[test]
fn nothing_is_there_that_nobody_appended() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    build.replicas(&["a", "z"]);
    breaks(build, Law::Phantom, &["Index 1 holds the record", "which nobody appended"]);
}

#[test]
fn nothing_is_there_twice() {
    let mut build = Build::new();
    let op = build.append(1, &["a"], None);
    build.unknown(op);
    build.replicas(&["a", "a"]);
    breaks(build, Law::Twice, &["record of call 0", "at index 0 and at index 1"]);
}

#[test]
fn what_failed_is_not_there() {
    let mut build = Build::new();
    let op = build.append(1, &["a"], None);
    build.fail(op);
    build.replicas(&["a"]);
    breaks(build, Law::Failed, &["Call 0", "failed at 2.0", "at index 0"]);
}

#[test]
fn indexes_have_no_holes() {
    let start = || {
        let mut build = Build::new();
        build.appended(1, 0, &["a", "b", "c"]);
        build
    };
    let mut replica = start();
    replica.replicas(&["a", "b", "c"]);
    let Some(What::Replica(last)) = replica.events.last_mut().map(|event| &mut event.what) else { panic!() };
    last.records.remove(1);
    breaks(replica, Law::Dense, &["replica of n2 has the record of index 2 where index 1 was to come"]);

    let mut beyond = start();
    beyond.replicas(&["a", "b", "c"]);
    let Some(What::Replica(last)) = beyond.events.last_mut().map(|event| &mut event.what) else { panic!() };
    last.end = 2;
    breaks(beyond, Law::Dense, &["index 2 where its end was to come"]);

    let mut read = start();
    let op = read.call(2, Call::Read { from: 0, count: 3, consistency: Local, node: None });
    read.ok(op, Answer::Found { records: vec![item(0, "a"), item(2, "c")] });
    read.replicas(&["a", "b", "c"]);
    breaks(read, Law::Dense, &["call 1", "was given index 2 where 1 was to come"]);

    let mut get = start();
    let op = get.get(2, 0, Local);
    get.ok(op, Answer::Found { records: vec![item(1, "b")] });
    get.replicas(&["a", "b", "c"]);
    breaks(get, Law::Dense, &["was given index 1 where 0 was to come"]);

    let mut tail = start();
    let op = tail.call(2, Call::Tail { from: 0, node: None });
    tail.push(What::Seen { op, records: vec![item(0, "a")] });
    tail.push(What::Seen { op, records: vec![item(0, "a")] });
    tail.replicas(&["a", "b", "c"]);
    breaks(tail, Law::Dense, &["was given index 0 where 1 was to come"]);
}

#[test]
fn positions_rise_and_terms_do_not_fall() {
    let with = |change: fn(&mut dledger_history::Item)| {
        let mut build = Build::new();
        let (one, two) = (build.append(1, &["a"], None), build.append(1, &["b"], None));
        build.unknown(one);
        build.unknown(two);
        build.replicas(&["a", "b"]);
        for event in &mut build.events {
            if let What::Replica(replica) = &mut event.what {
                change(&mut replica.records[1]);
            }
        }
        build
    };
    breaks(with(|item| item.position = 1000), Law::Position, &["Index 0 is the record", "does not lie behind it"]);
    breaks(with(|item| item.term = 0), Law::Term, &["in term 0: its term is lower"]);
    holds(with(|item| (item.term, item.position) = (9, 1001)));
}

#[test]
fn a_batch_is_side_by_side_or_not_there() {
    let with = |log: &[&str]| {
        let mut build = Build::new();
        let (one, two) = (build.append(1, &["a", "b", "c"], None), build.append(2, &["x"], None));
        build.unknown(one);
        build.unknown(two);
        build.replicas(log);
        build
    };
    for good in [&["a", "b", "c", "x"][..], &["x", "a", "b", "c"], &["x"], &[]] {
        holds(with(good));
    }
    breaks(with(&["a", "b"]), Law::Batch, &["record 2 of 3 of call 0", "not right behind it"]);
    breaks(with(&["a", "b", "x", "c"]), Law::Batch, &["record 2 of 3"]);
    breaks(with(&["b", "c", "x"]), Law::Batch, &["Index 0 holds record 2 of 3", "not right before it"]);
    breaks(with(&["a", "c", "b"]), Law::Batch, &["Index 0 holds record 1 of 3"]);

    let mut acked = Build::new();
    let batch = acked.append(1, &["a", "b"], None);
    let other = acked.append(2, &["x"], None);
    let ack = |index| dledger_history::Acked { index, position: 1000 + 100 * index, term: 1 };
    acked.ok(batch, Answer::Acked { acks: vec![ack(0), ack(2)] });
    acked.acked(other, 1, 1);
    acked.replicas(&["a", "x", "b"]);
    breaks(acked, Law::Batch, &["call 0", "acknowledged at index 2 where 1 was to come"]);
}

#[test]
fn of_a_batch_that_was_removed_in_part_the_rest_may_be_there() {
    let mut build = Build::new();
    let op = build.append(1, &["a", "b", "c"], None);
    build.unknown(op);
    let remove = build.call(6, Call::RemoveBelow { index: 1, node: "n0".into() });
    build.ok(remove, Answer::Done);
    build.replica("n0", 1, &["b", "c"]);
    holds(build);
}

#[test]
fn sessions_keep_their_order() {
    let with = |client, session| {
        let mut build = Build::new();
        let (one, two) = (build.append(1, &["a"], Some(1)), build.append(client, &["b"], session));
        build.acked(two, 0, 1);
        build.acked(one, 1, 1);
        build.replicas(&["b", "a"]);
        build
    };
    breaks(with(1, Some(1)), Law::Session, &["In session 1, call 0", "at index 1 and at index 0"]);
    for (client, session) in [(1, Some(2)), (2, Some(1)), (1, None)] {
        holds(with(client, session));
    }
    // Given up by its client, and still on its way.
    let mut late = Build::new();
    let (one, two) = (late.append(1, &["a"], Some(1)), late.append(1, &["b"], Some(1)));
    late.unknown(one);
    late.acked(two, 0, 1);
    late.replicas(&["b", "a"]);
    holds(late);
}

#[test]
fn records_are_removed_only_where_that_was_asked_for() {
    let with = |asked: Option<(u64, bool)>, first: u64| {
        let mut build = Build::new();
        let log = ["a", "b", "c"];
        build.appended(1, 0, &log);
        if let Some((index, done)) = asked {
            let op = build.call(6, Call::RemoveBelow { index, node: "n1".into() });
            if done { build.ok(op, Answer::Done) } else { build.fail(op) }
        }
        build.replica("n0", 0, &log);
        build.replica("n1", first, &log[first as usize..]);
        build
    };
    holds(with(Some((2, true)), 2));
    holds(with(Some((2, true)), 1));
    breaks(with(None, 1), Law::Retention, &["On n1 the log began at index 1", "nobody had asked for records"]);
    breaks(with(Some((1, true)), 2), Law::Retention, &["asked for more to be removed than those below 1"]);
    breaks(with(Some((2, false)), 2), Law::Retention, &["nobody had asked"]);
    let mut by_itself = with(None, 2);
    let What::Begin(begin) = &mut by_itself.events[0].what else { panic!() };
    begin.retention = true;
    holds(by_itself);

    let mut told = Build::new();
    told.appended(1, 0, &["a", "b"]);
    let get = told.get(3, 0, Local);
    told.ok(get, Answer::Removed { first: 2 });
    told.replicas(&["a", "b"]);
    breaks(told, Law::Retention, &["By what call 1", "the log began at index 2"]);

    // Asked for, but later.
    let mut early = Build::new();
    early.appended(1, 0, &["a", "b"]);
    early.push(What::Status(status("n0", "slave", 1, 1, 2)));
    let op = early.call(6, Call::RemoveBelow { index: 1, node: "n0".into() });
    early.ok(op, Answer::Done);
    early.replica("n0", 1, &["b"]);
    breaks(early, Law::Retention, &["On n0 the log began at index 1 at 3.0"]);
}

#[test]
fn every_law_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> = Law::ALL.iter().map(|law| law.slug()).collect();
    assert_eq!(words.len(), Law::ALL.len());
    assert_eq!(serde_json::to_string(&Law::RealTime).unwrap(), "\"real-time\"");
    assert_eq!(hash("hello").to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e");
}
