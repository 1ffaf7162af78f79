//! A survivor that becomes a cluster of its own.

use prost::Message;

use super::*;
use crate::log::directory;
use crate::wire::pb;

const OLD: u128 = 9;

/// The newest entry, which holds a membership.
fn newest(log: &Log) -> (u64, pb::Membership) {
    let frame = log.reader().frame(log.end().number - 1).unwrap().unwrap();
    assert_eq!(frame.header.kind, EntryKind::Membership);
    (frame.header.term, pb::Membership::decode(frame.body()).unwrap())
}

/// A node of three, with records of which it knows only the first to be committed.
fn survivor() -> Sample {
    let mut sample = Sample::empty();
    let mut log = sample.log();
    log.save_vote(HardVote { term: 4, node: Some("n1".parse().unwrap()), granted: true }).unwrap();
    let member = |n: u8| pb::Member {
        id: format!("n{n}"),
        address: format!("h{n}:1"),
        incarnation: Incarnation::from_u128(7 + u128::from(n)).to_bytes().to_vec().into(),
    };
    let membership = pb::Membership {
        configs: vec![pb::Voters { ids: vec!["n0".into(), "n1".into(), "n2".into()] }],
        members: (0..3).map(member).collect(),
        cluster_incarnation: Incarnation::from_u128(OLD).to_bytes().to_vec().into(),
    };
    let draft = Draft::control(EntryKind::Membership, &membership.encode_to_vec());
    log.append_draft(draft, 0, 1).unwrap();
    for n in 0..6_u64 {
        log.append_draft(Draft::batch(&[format!("record {n}")]), 4, 2 + n).unwrap();
    }
    flush(&mut log);
    log.committer().commit(2).unwrap();
    flush(&mut log);
    sample.appended.clear();
    close(log);
    sample
}

#[test]
fn a_plan_says_what_is_given_up_and_changes_nothing() {
    let sample = survivor();
    let before = sample.content();
    let plan = sample.stopped().plan_new_cluster(None).unwrap();
    assert_eq!((plan.first, plan.committed, plan.end), (0, 2, 6));
    assert_eq!((plan.node.as_str(), plan.address.as_str()), ("n0", "h0:1"));
    let given_up: Vec<_> = plan.given_up.iter().map(|member| (member.node.as_str(), member.address.as_str())).collect();
    assert_eq!(given_up, [("n1", "h1:1"), ("n2", "h2:1")]);
    assert_eq!(plan.old_incarnation, Some(Incarnation::from_u128(OLD).to_string()));
    assert_eq!(plan.incarnation, None);
    assert_eq!(sample.content(), before);
}

#[test]
fn a_survivor_keeps_all_it_stores_and_is_another_disk_of_another_cluster() {
    let sample = survivor();
    let before = dumped(&sample.stopped(), DumpOptions::default());
    let made = sample.stopped().make_new_cluster(Some("new:2")).unwrap();
    assert_eq!((made.end, made.address.as_str()), (6, "new:2"));
    let after = dumped(&sample.stopped(), DumpOptions::default());
    let entries = |items: &[DumpItem]| -> Vec<String> {
        let entries = items.iter().filter(|item| matches!(item, DumpItem::Entry(_)));
        entries.map(|entry| format!("{entry:?}")).collect()
    };
    let (before, after) = (entries(&before), entries(&after));
    assert_eq!(after[..before.len()], before[..], "what was there has changed");
    assert_eq!(after.len(), before.len() + 1);

    let log = sample.log();
    let (term, membership) = newest(&log);
    let disk = log.identity().incarnation;
    assert_ne!(disk, Incarnation::from_u128(7));
    assert_eq!(membership.configs, [pb::Voters { ids: vec!["n0".into()] }]);
    assert_eq!((membership.members.len(), membership.members[0].address.as_str()), (1, "new:2"));
    assert_eq!(Incarnation::from_slice(&membership.members[0].incarnation), Some(disk));
    let cluster = Incarnation::from_slice(&membership.cluster_incarnation).unwrap();
    assert_eq!(made.incarnation, Some(cluster.to_string()));
    assert_ne!(cluster, Incarnation::from_u128(OLD));
    assert!(term > 4 && log.reader().vote().is_some_and(|vote| vote.term == term));
    close(log);
}

#[test]
fn what_was_interrupted_can_be_done_again() {
    let sample = survivor();
    let identity = Identity { incarnation: Incarnation::from_u128(77), ..identity("n0") };
    directory::replace_identity(&HookedDisk::without_syncs(), &sample.path(), &identity, 1).unwrap();
    // It died behind the vote.
    let options = options();
    let mut log = Log::open(Arc::new(HookedDisk::without_syncs()), sample.path(), identity, options).unwrap().0;
    log.save_vote(HardVote { term: 5, node: Some("n0".parse().unwrap()), granted: true }).unwrap();
    close(log);
    let first = sample.stopped().make_new_cluster(None).unwrap();
    assert_eq!((first.end, first.old_incarnation), (6, Some(Incarnation::from_u128(OLD).to_string())));
    // A second recovery is refused: another incarnation would lock out the clients of the first.
    let before = sample.content();
    let refused = |again: Result<_, OfflineError>| {
        assert!(matches!(again.unwrap_err(), OfflineError::AloneAlready { node, .. } if node == "n0"));
    };
    refused(sample.stopped().plan_new_cluster(None));
    refused(sample.stopped().make_new_cluster(Some("new:2")));
    assert_eq!(sample.content(), before);
    assert_eq!(verified(&sample.stopped()).1.damages, 0);
}

#[test]
fn no_cluster_is_made_of_damage_or_of_nothing() {
    let sample = survivor();
    let header = SEGMENT_HEADER as u64;
    sample.flip(header + 20);
    let before = sample.content();
    let refused = sample.stopped().make_new_cluster(None).unwrap_err();
    assert!(matches!(refused, OfflineError::StartRefused { .. }), "{refused}");
    assert_eq!(sample.content(), before);

    let empty = Sample::empty();
    close(empty.log());
    let refused = empty.stopped().make_new_cluster(None).unwrap_err();
    assert!(matches!(refused, OfflineError::NotAMember { .. }), "{refused}");
}

/// A start first finishes the installation of a snapshot during which the process died.
fn with_pending_snapshot(sample: &Sample) {
    let snapshot = pb::SnapshotRequest {
        last_log_id: Some(pb::LogId { term: 4, number: 99 }),
        start: Some(pb::LogStart { position: 5 * SIZE + 800, index: 99, chain: 5, timestamp: 9 }),
        ..pb::SnapshotRequest::default()
    };
    let log = sample.log();
    log.committer().save_snapshot(snapshot.encode_to_vec()).unwrap();
    close(log);
}

/// A log that is recorded to begin behind what its segment has: a reset was interrupted.
fn with_interrupted_reset(sample: &Sample) {
    let (first, spare) = (sample.segment(0), sample.path().join(names::SPARE));
    let old = std::fs::read(&first).unwrap();
    let mut log = sample.log();
    let next = Cursor { position: 800, number: 21, index: 21, term: 4, timestamp: 0, chain: 0xdead };
    log.reset(4, 20, next).unwrap();
    close(log);
    let _ = std::fs::remove_file(spare);
    std::fs::write(&first, old).unwrap();
}

#[test]
fn no_cluster_is_made_of_a_log_that_a_start_would_begin_anew() {
    for (what, interrupt) in
        [("snapshot", with_pending_snapshot as fn(&Sample)), ("reset", with_interrupted_reset as fn(&Sample))]
    {
        let sample = survivor();
        interrupt(&sample);
        let before = sample.content();
        let refused = sample.stopped().plan_new_cluster(None).unwrap_err();
        assert!(matches!(refused, OfflineError::BeginsAnew { .. }), "{what}: {refused}");
        let refused = sample.stopped().make_new_cluster(None).unwrap_err();
        assert!(matches!(refused, OfflineError::BeginsAnew { .. }), "{what}: {refused}");
        assert_eq!(sample.content(), before, "{what}");
    }
}

/// Nothing of a copy may be on the disk yet, and a start syncs only entries that no note calls synced.
#[test]
fn all_of_a_copy_is_synced_before_anything_is_changed_in_it() {
    type Tool = fn(StoppedLedger);
    let tools: [(&str, Tool); 2] = [
        ("recover", |stopped| drop(stopped.make_new_cluster(None).unwrap())),
        ("truncate", |stopped| drop(stopped.truncate(4, true).unwrap())),
    ];
    for (tool, run) in tools {
        let sample = survivor();
        let synced = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let first_change = Arc::new(std::sync::OnceLock::new());
        let (seen, changed, at) = (synced.clone(), first_change.clone(), synced.clone());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let before = sample.content();
        let (file, whole) = (sample.path().join(names::HARD_STATE), before[names::HARD_STATE].clone());
        let note = changed.clone();
        let disk = HookedDisk::before_sync(move |path, _| {
            if std::fs::read(&file).unwrap() != whole {
                note.get_or_init(|| at.lock().clone());
            }
            seen.lock().push(name(path));
            Ok(())
        });
        let at = synced.clone();
        let disk = disk.and_before_rename(move |_, _| {
            changed.get_or_init(|| at.lock().clone());
            Ok(())
        });
        run(StoppedLedger::open_on(Arc::new(disk), sample.path()).unwrap());
        let synced = first_change.get().unwrap();
        for name in before.keys().filter(|name| ![names::LOCK, names::SPARE, names::BALLAST].contains(&name.as_str())) {
            assert!(synced.contains(name), "{tool}: {name} was not synced first, but {synced:?}");
        }
    }
}

/// A program that knows only earlier versions must still refuse the directory.
#[test]
fn a_survivor_with_a_segment_that_was_ended_early_stays_of_the_version_that_has_them() {
    let sample = survivor();
    let version = || std::fs::read(sample.path().join("identity")).unwrap()[8];
    let mut log = sample.log();
    assert_eq!(version(), 1);
    log.append_draft(Draft::control(EntryKind::Roll, b""), 4, 9).unwrap();
    close(log);
    assert_eq!(version(), 2);
    let made = sample.stopped().make_new_cluster(None).unwrap();
    assert_eq!((made.end, version()), (6, 2));
    assert_eq!(verified(&sample.stopped()).1.damages, 0);
}
