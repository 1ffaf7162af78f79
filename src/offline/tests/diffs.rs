//! A comparison names the first difference, whatever byte it is in.

use super::*;

fn compare(left: &Sample, right: &Sample) -> Comparison {
    diff(&left.stopped(), &right.stopped()).unwrap()
}

fn difference(left: &Sample, right: &Sample) -> Difference {
    match compare(left, right) {
        Comparison::Differ(difference) => *difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn replicas_of_one_past_are_equal() {
    let (left, right) = (Sample::new(), Sample::new());
    let last = left.appended.last().unwrap().position;
    assert!(matches!(compare(&left, &right), Comparison::Equal { from: 80, to } if to > last));
}

#[test]
fn one_that_ends_earlier_is_a_prefix() {
    for (fewer, more) in [(20, 44), (0, 44), (43, 44), (44, 60)] {
        let (left, right) = (Sample::of(fewer), Sample::of(more));
        let next = &right.appended[fewer as usize];
        let records = right.records().len() - left.records().len();
        let expected = |shorter, position| Comparison::Prefix {
            shorter,
            position,
            index: next.index,
            number: next.number,
            entries: more - fewer,
            records: records as u64,
        };
        let Comparison::Prefix { position, .. } = compare(&left, &right) else {
            panic!("{:?}", compare(&left, &right))
        };
        assert!(position <= next.position);
        assert_eq!(compare(&left, &right), expected(Side::Left, position), "{fewer}");
        assert_eq!(compare(&right, &left), expected(Side::Right, position), "{fewer}");
    }
}

#[test]
fn every_flipped_byte_of_one_replica_is_found_in_its_entry() {
    let (left, right) = (Sample::new(), Sample::new());
    let (content, last) = (right.content(), right.appended.last().unwrap());
    for at in (80..last.position + 90).step_by(7) {
        right.flip(at);
        let found = difference(&left, &right);
        assert_eq!((found.first_byte, found.left_byte ^ found.right_byte), (at, 0x10), "{at}");
        let holder = left.appended.iter().rev().find(|entry| entry.position <= at).unwrap();
        if let Some(entry) = &found.left {
            assert_eq!((entry.number, found.position, found.number), (holder.number, holder.position, holder.number));
            assert_eq!((found.index, found.bytes), (holder.index, 1));
        }
        std::fs::write(right.segment(at), &content[&names::segment(at / SIZE * SIZE)]).unwrap();
    }
}

#[test]
fn the_fields_that_differ_are_named() {
    let (left, mut right) = (Sample::of(30), Sample::of(20));
    let mut log = right.log();
    log.append_draft(Draft::control(EntryKind::Blank, b""), 9, 1_700_000_000_000).unwrap();
    flush(&mut log);
    right.append(&mut log, 10);
    close(log);
    let found = difference(&left, &right);
    assert_eq!((found.number, found.position), (20, left.appended[20].position));
    let fields: Vec<_> = found.fields.iter().map(|field| field.field).collect();
    assert!(["kind", "term", "length", "chain"].iter().all(|field| fields.contains(field)), "{fields:?}");
    assert!(!fields.contains(&"index") && !fields.contains(&"previous"), "{fields:?}");
    assert_ne!(found.left.unwrap().chain, found.right.unwrap().chain);
}

#[test]
fn replicas_that_begin_at_different_places_are_compared_where_both_are() {
    let (left, right) = (Sample::new(), Sample::new());
    let mut log = right.log();
    log.purge(4, 24).unwrap();
    close(log);
    assert!(!right.segment(0).exists());
    assert!(matches!(compare(&left, &right), Comparison::Equal { from, .. } if from == SIZE + 80));
    right.flip(right.batch(32).position + 100);
    assert_eq!(difference(&left, &right).number, 32);
}

#[test]
fn another_ledger_is_refused_by_what_differs() {
    let (left, right) = (Sample::of(3), Sample::empty());
    let other = Identity { group: "h".parse().unwrap(), ..identity("n0") };
    close(Log::open(Arc::new(HookedDisk::without_syncs()), right.path(), other, options()).unwrap().0);
    match diff(&left.stopped(), &right.stopped()) {
        Err(OfflineError::OtherLedger { what, .. }) => assert_eq!(what, "the group"),
        other => panic!("{other:?}"),
    }
}
