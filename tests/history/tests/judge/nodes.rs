//! What nodes say of themselves: one history for each way to break each law.

use dledger_history::{Answer, Call, ChainAt, Law, NodeStatusEvent, What};

use super::build::{Build, status};
use super::laws::{breaks, holds};

#[test]
fn chain_values_are_equal() {
    let chained = |node, value| {
        let mut status = status(node, "slave", 1, 0, 1);
        status.chain = Some(ChainAt { position: 50, value });
        What::Status(status)
    };
    let with = |values: [u32; 2]| {
        let mut build = Build::new();
        build.appended(1, 0, &["a"]);
        build.push(chained("n0", values[0]));
        build.push(chained("n1", values[1]));
        build.replicas(&["a"]);
        build
    };
    holds(with([7, 7]));
    breaks(with([7, 8]), Law::Chain, &["Up to position 50", "n0 had chain value 00000007", "n1 have 00000008"]);

    let mut replica = with([7, 7]);
    let Some(What::Replica(last)) = replica.events.last_mut().map(|event| &mut event.what) else { panic!() };
    last.chain = Some(ChainAt { position: 50, value: 9 });
    breaks(replica, Law::Chain, &["n2 have 00000009"]);
}

#[test]
fn a_node_says_nothing_impossible_of_itself() {
    let with = |statuses: &[dledger_history::NodeStatusEvent], wiped: Option<usize>| {
        let mut build = Build::new();
        build.appended(1, 0, &["a", "b", "c", "d"]);
        for (n, status) in statuses.iter().enumerate() {
            if wiped == Some(n) {
                build.faulted(1, "wipe-disk", "n0");
            }
            build.push(What::Status(status.clone()));
        }
        let remove = build.call(6, Call::RemoveBelow { index: 0, node: "n0".into() });
        build.ok(remove, Answer::Done);
        build.replicas(&["a", "b", "c", "d"]);
        let What::Begin(begin) = &mut build.events[0].what else { panic!() };
        begin.retention = true;
        build
    };
    let s = status;
    breaks(
        with(&[s("n0", "master", 3, 0, 1), s("n1", "master", 3, 0, 1)], None),
        Law::OneMaster,
        &["n0 said at 3.0", "master of term 3", "n1 said the same"],
    );
    holds(with(&[s("n0", "master", 3, 0, 1), s("n0", "master", 3, 0, 1), s("n1", "master", 4, 0, 1)], None));

    let falls = [s("n0", "slave", 3, 0, 1), s("n0", "slave", 2, 0, 1)];
    breaks(with(&falls, None), Law::NodeTerm, &["n0 said", "its term is 3", "it is 2"]);
    holds(with(&falls, Some(1)));

    let uncommits = [s("n0", "slave", 3, 0, 3), s("n0", "slave", 3, 0, 2)];
    breaks(with(&uncommits, None), Law::CommittedFell, &["committed is 3", "it is 2"]);
    let mut restarted = uncommits;
    restarted[1].start = 2;
    holds(with(&restarted, None));

    let grows_back = [s("n0", "slave", 3, 2, 3), s("n0", "slave", 3, 1, 3)];
    breaks(with(&grows_back, None), Law::FirstFell, &["lowest index it stores is 2", "it is 1"]);
    holds(with(&grows_back, Some(1)));

    let change = |change: fn(&mut dledger_history::NodeStatusEvent)| {
        let mut status = s("n0", "slave", 3, 1, 3);
        change(&mut status);
        with(&[status], None)
    };
    holds(change(|status| status.durable = 0));
    breaks(change(|status| status.first = 4), Law::Pointers, &["n0 said", "it stores 4 to 3"]);
    breaks(change(|status| status.durable = 4), Law::Pointers, &["below 4 durable"]);
    breaks(change(|status| status.committed = 4), Law::Pointers, &["below 4 are committed"]);
}

#[test]
fn a_replica_has_what_its_own_node_called_committed() {
    let with = |said: &[&NodeStatusEvent], wiped: bool| {
        let mut build = Build::new();
        build.appended(1, 0, &["a", "b", "c"]);
        said.iter().for_each(|status| build.push(What::Status((*status).clone())));
        if wiped {
            build.faulted(1, "wipe-disk", "n1");
        }
        build.replica("n0", 0, &["a", "b", "c"]);
        build.replica("n1", 0, &["a", "b"]);
        build.replica("n2", 0, &["a", "b", "c"]);
        build
    };
    let (all, less) = (status("n1", "slave", 1, 0, 3), status("n1", "slave", 1, 0, 2));
    let says = ["n1 said at 3.0", "that 3 records are committed and durable", "its replica ends at index 2"];
    breaks(with(&[&all], false), Law::Committed, &says);
    // Its next life does not know better.
    let mut restarted = less.clone();
    restarted.start = 2;
    breaks(with(&[&all, &restarted], false), Law::Committed, &says);

    // It was not caught up, and never said so.
    holds(with(&[&less, &status("n0", "master", 1, 0, 3)], false));
    // What it said was of another disk.
    holds(with(&[&all], true));
    // What was not durable may be gone with the power: others have it.
    let mut volatile = all.clone();
    volatile.durable = 2;
    holds(with(&[&volatile], false));

    // It may have come to know of it after its replica was read.
    let mut late = with(&[&less], false);
    late.push(What::Status(all));
    holds(late);
}
