//! The order of time: one history for each way to break it, and for what may look like it.

use dledger::Consistency::{Lease, Linearizable, Local};
use dledger_history::{Answer, Call, Law, What};

use super::build::{Build, items};
use super::laws::{breaks, holds};

#[test]
fn what_was_acknowledged_or_seen_is_seen_from_then_on() {
    for consistency in [Lease, Linearizable] {
        let mut acked = Build::new();
        acked.appended(1, 0, &["a"]);
        acked.nothing(2, 0, consistency);
        acked.replicas(&["a"]);
        let says = ["Index 0 was there at 2.0", "call 0", "was acknowledged", "Yet call 1", "found nothing at index 0"];
        breaks(acked, Law::RealTime, &says);

        let mut seen = Build::new();
        let op = seen.append(1, &["a"], None);
        seen.got(2, 0, "a", consistency);
        seen.nothing(3, 0, consistency);
        seen.acked(op, 0, 1);
        seen.replicas(&["a"]);
        breaks(seen, Law::RealTime, &["call 1", "returned it", "Yet call 2"]);

        // What comes behind a record that is there is there no earlier.
        let mut behind = Build::new();
        let (one, two) = (build_two(&mut behind), behind.nothing(2, 0, consistency));
        behind.acked(one, 0, 1);
        assert_eq!(two, 2);
        behind.replicas(&["a", "b"]);
        breaks(behind, Law::RealTime, &["Index 1 was there at 3.0", "found nothing at index 0"]);
    }

    let mut local = Build::new();
    local.appended(1, 0, &["a"]);
    local.nothing(2, 0, Local);
    local.replicas(&["a"]);
    holds(local);

    // The read began before the ack: it may or may not have seen it.
    let mut concurrent = Build::new();
    let (append, get) = (concurrent.append(1, &["a"], None), concurrent.get(2, 0, Linearizable));
    concurrent.acked(append, 0, 1);
    concurrent.ok(get, Answer::Absent { index: 0 });
    concurrent.replicas(&["a"]);
    holds(concurrent);
}

#[test]
fn what_a_local_read_or_a_tail_saw_is_seen_from_then_on() {
    for consistency in [Lease, Linearizable] {
        let mut read = Build::new();
        let op = read.append(1, &["a"], None);
        read.got(2, 0, "a", Local);
        read.nothing(3, 0, consistency);
        read.acked(op, 0, 1);
        read.replicas(&["a"]);
        breaks(
            read,
            Law::RealTime,
            &["Index 0 was there at 3.0", "client 2's local get of 0", "returned it", "Yet call 2"],
        );

        let mut tailed = Build::new();
        let op = tailed.append(1, &["a"], None);
        tailed.unknown(op);
        let tail = tailed.call(2, Call::Tail { from: 0, node: None });
        tailed.push(What::Seen { op: tail, records: items(0, &["a"]) });
        tailed.nothing(3, 0, consistency);
        tailed.replicas(&["a"]);
        breaks(tailed, Law::RealTime, &["Index 0 was there at 4.0", "tail from 0", "delivered it", "Yet call 2"]);

        // It began before that was seen.
        let mut concurrent = Build::new();
        let (op, get) = (concurrent.append(1, &["a"], None), concurrent.get(3, 0, consistency));
        concurrent.got(2, 0, "a", Local);
        concurrent.ok(get, Answer::Absent { index: 0 });
        concurrent.acked(op, 0, 1);
        concurrent.replicas(&["a"]);
        holds(concurrent);
    }

    let mut late = Build::new();
    late.appended(1, 0, &["a"]);
    late.got(2, 0, "a", Local);
    late.nothing(2, 0, Local);
    late.replicas(&["a"]);
    holds(late);

    let mut before = Build::new();
    let op = before.append(1, &["b"], None);
    before.got(2, 1, "b", Local);
    before.appended(3, 0, &["a"]);
    before.acked(op, 1, 1);
    before.replicas(&["a", "b"]);
    breaks(before, Law::RealTime, &["Index 1 was there at 3.0", "Yet call 2", "is what appended index 0"]);
}

/// A limit of bytes, damage or a removal may have ended it: `Ledger::read` says no more than what it found.
#[test]
fn a_read_that_ends_early_says_nothing_of_what_is_behind_it() {
    let mut build = Build::new();
    build.appended(1, 0, &["a", "b", "c"]);
    let read = build.call(2, Call::Read { from: 0, count: 9, consistency: Linearizable, node: None });
    build.ok(read, Answer::Found { records: items(0, &["a", "b"]) });
    build.replicas(&["a", "b", "c"]);
    holds(build);
}

/// `a` is under way, `b` has been acknowledged behind it.
fn build_two(build: &mut Build) -> u64 {
    let (one, two) = (build.append(1, &["a"], None), build.append(2, &["b"], None));
    build.acked(two, 1, 1);
    one
}

#[test]
fn of_two_events_of_one_moment_neither_came_first() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    build.nothing(2, 0, Linearizable);
    build.replicas(&["a"]);
    // The get is called at the very moment of the ack.
    build.events[3].at = build.events[2].at;
    holds(build);
}

#[test]
fn appends_that_did_not_overlap_lie_in_their_order() {
    let mut build = Build::new();
    build.appended(1, 1, &["a"]);
    build.appended(2, 0, &["b"]);
    build.replicas(&["b", "a"]);
    breaks(build, Law::RealTime, &["Index 1 was there at 2.0", "Yet call 1", "is what appended index 0"]);
}

#[test]
fn a_batch_becomes_visible_at_once() {
    let mut build = Build::new();
    let op = build.append(1, &["a", "b"], None);
    build.got(2, 0, "a", Lease);
    build.nothing(2, 1, Lease);
    build.acked(op, 0, 2);
    build.replicas(&["a", "b"]);
    breaks(build, Law::RealTime, &["Index 0 was there", "found nothing at index 1"]);
}
