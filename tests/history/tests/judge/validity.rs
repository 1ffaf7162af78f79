//! What a history must be to prove anything.

use dledger::Consistency::{Linearizable, Local};
use dledger_history::{Answer, Call, FaultPhase, Judge, Report, Verdict, What, check};

use super::build::{Build, hash, items};

/// The history proves nothing, for that reason alone.
#[track_caller]
fn proves_nothing(build: Build, reason: &str) {
    let report = check(build.events);
    assert_eq!((report.verdict, report.counts.invalid), (Verdict::Invalid, 1), "{report:#?}");
    assert!(report.invalid[0].contains(reason), "{:?} is not {reason:?}", report.invalid);
    assert_eq!(report.violations, []);
}

/// A history of one record, and what `more` adds before the replicas are read.
fn with(more: impl FnOnce(&mut Build)) -> Build {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    more(&mut build);
    build.replicas(&["a"]);
    build
}

#[test]
fn a_fault_counts_if_it_was_installed_observed_and_removed() {
    use FaultPhase::{Installed, Observed, Removed};
    let phases =
        |phases: &[FaultPhase]| with(|build| phases.iter().for_each(|phase| build.fault(7, "kill", "n0", *phase)));
    let good = check(phases(&[Installed, Observed, Observed, Removed, Observed]).events);
    assert_eq!((good.verdict, good.counts.faults), (Verdict::Pass, [("kill".to_owned(), 1)].into()));
    proves_nothing(phases(&[Installed, Removed]), "fault 7 (kill) was never observed");
    proves_nothing(phases(&[Installed, Observed]), "fault 7 (kill) was never removed");
    proves_nothing(phases(&[Installed, Observed, Installed, Removed]), "installed twice");
    proves_nothing(phases(&[Installed, Observed, Removed, Removed]), "removed twice");
    let report = check(phases(&[Observed, Removed]).events);
    assert_eq!(report.verdict, Verdict::Invalid);
    assert!(report.invalid.iter().any(|reason| reason.contains("never installed")), "{:?}", report.invalid);

    let mut silent = phases(&[Installed, Observed, Observed, Removed]);
    let What::Fault(observed) = &mut silent.events[4].what else { panic!() };
    observed.evidence = " ".to_owned();
    proves_nothing(silent, "observed, without evidence");
    let mut renamed = phases(&[Installed, Observed, Removed, Observed]);
    let What::Fault(last) = &mut renamed.events[6].what else { panic!() };
    last.kind = "pause".to_owned();
    proves_nothing(renamed, "fault 7 is a kill and a pause");
}

#[test]
fn a_history_begins_and_ends() {
    let report = check([]);
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(
        report.invalid,
        ["the history is empty", "no replica was read in the end: what the log became is not known"]
    );

    let mut headless = with(|_| {});
    headless.events.remove(0);
    proves_nothing(headless, "the first line is no `begin`");
    let twice = with(|build| build.push(Build::new().events[0].what.clone()));
    proves_nothing(twice, "a second `begin`");
    let mut later = with(|_| {});
    let What::Begin(begin) = &mut later.events[0].what else { panic!() };
    begin.format = 2;
    proves_nothing(later, "format 2");

    let mut endless = with(|_| {});
    endless.events.truncate(3);
    proves_nothing(endless, "no replica was read");
    let mut short = with(|_| {});
    let Some(What::Replica(last)) = short.events.last_mut().map(|event| &mut event.what) else { panic!() };
    last.end = 2;
    proves_nothing(short, "of the replica of n2 only the records below 1 of 2 were read");
    let mut other = with(|_| {});
    other.replica("n2", 0, &[]);
    proves_nothing(other, "the replica of n2 holds 0 to 1 by one line, and 0 to 0 by another");
    let mut on = with(|_| {});
    let op = on.append(1, &["b"], None);
    on.unknown(op);
    proves_nothing(on, "call 1 appends after a replica was read");
    let mut unsorted = with(|build| build.push(What::Note { text: "late".to_owned() }));
    unsorted.events[3].at = 0;
    proves_nothing(unsorted, "sort them");
}

#[test]
fn lines_that_contradict_one_another_prove_nothing() {
    proves_nothing(with(|build| build.ok(9, Answer::Done)), "an answer to call 9, and no such call");
    proves_nothing(with(|build| build.ok(0, Answer::Done)), "call 0 ends twice");
    proves_nothing(with(|build| build.push(What::Seen { op: 0, records: Vec::new() })), "call 0 ends twice");
    let again = |build: &mut Build| {
        let call = Call::Transfer { to: "n1".into() };
        build.push(What::Invoke { client: 1, op: 0, call });
    };
    proves_nothing(with(again), "two calls have the number 0");
    let equal = |build: &mut Build| {
        let op = build.append(2, &["a"], None);
        build.unknown(op);
    };
    proves_nothing(with(equal), "calls 0 and 1 append equal records (ca978112ca1bbdcafac231b39a23dc4d)");
    assert_eq!(hash("a").to_string(), "ca978112ca1bbdcafac231b39a23dc4d");
    let empty = |build: &mut Build| {
        let op = build.append(2, &[], None);
        build.fail(op);
    };
    proves_nothing(with(empty), "call 1 appends no records");
    let seen = |build: &mut Build| {
        let op = build.get(2, 0, Local);
        build.push(What::Seen { op, records: Vec::new() });
    };
    proves_nothing(with(seen), "is no tail");
    let back = |build: &mut Build| {
        for start in [2, 1] {
            let mut status = super::build::status("n0", "slave", 1, 0, 1);
            status.start = start;
            build.push(What::Status(status));
        }
    };
    proves_nothing(with(back), "n0 is in its start 1 after its start 2");
}

#[test]
fn an_answer_fits_its_call() {
    let read = || Call::Read { from: 0, count: 1, consistency: Linearizable, node: None };
    let get = || Call::Get { index: 1, consistency: Local, node: None };
    let tail = || Call::Tail { from: 0, node: None };
    let append = || Call::Append { records: vec![hash("b")], session: None };
    let found = |records: &[&str]| Answer::Found { records: items(0, records) };
    let cases = [
        (read(), found(&[]), "found no records"),
        (read(), found(&["a", "b"]), "at most 1 records and has 2"),
        (get(), found(&["a", "b"]), "asks for one record and has 2"),
        (get(), Answer::Absent { index: 2 }, "asks for 1 and is told that 2 is absent"),
        (get(), Answer::Absent { index: 0 }, "asks for 1 and is told that 0 is absent"),
        (get(), Answer::Removed { first: 1 }, "asks for 1 and is told that the log begins at 1"),
        (get(), Answer::Done, "another kind of call"),
        (tail(), found(&["a"]), "belong into `seen`"),
        (append(), Answer::Acked { acks: Vec::new() }, "appends 1 records and has 0 acks"),
        (append(), found(&["a"]), "another kind of call"),
        (Call::Transfer { to: "n1".into() }, Answer::Absent { index: 0 }, "another kind of call"),
    ];
    for (call, answer, reason) in cases {
        let history = with(|build| {
            let op = build.call(2, call);
            build.ok(op, answer);
        });
        proves_nothing(history, reason);
    }
}

#[test]
fn a_broken_law_weighs_more_than_a_history_that_proves_little() {
    let mut build = Build::new();
    build.appended(1, 0, &["a"]);
    build.fault(1, "kill", "n0", FaultPhase::Installed);
    build.replicas(&[]);
    let report = check(build.events);
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!((report.violations.len(), report.invalid.len()), (1, 2));
}

#[test]
fn all_violations_are_counted_and_a_hundred_of_each_law_are_kept() {
    let mut build = Build::new();
    let bodies: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(|body| &**body).collect();
    build.appended(1, 0, &bodies);
    (1000..1200).for_each(|op| build.ok(op, Answer::Done));
    build.replicas(&[]);
    let mut judge = Judge::new();
    build.events.into_iter().for_each(|event| judge.push(event));
    let report = judge.finish();
    assert_eq!(report.counts.violations, [(dledger_history::Law::Acked, 250)].into());
    assert_eq!((report.violations.len(), report.invalid.len()), (Report::KEPT, Report::KEPT));
    assert_eq!(report.counts.invalid, 200);
}
