//! A dump says what was appended.

use super::*;

impl Sample {
    /// What a dump says was appended.
    fn dump(&self, options: DumpOptions) -> Vec<Appended> {
        let appended = |item: DumpItem| match item {
            DumpItem::Entry(entry) => {
                assert!(entry.verified, "{entry:?}");
                assert_eq!(entry.count as usize, entry.records.len());
                let indexes: Vec<_> = entry.records.iter().map(|record| record.index).collect();
                assert_eq!(indexes, (entry.index..entry.index + u64::from(entry.count)).collect::<Vec<_>>());
                let records = entry.records.into_iter().map(|record| record.body).collect();
                let EntryItem { number, index, position, kind, .. } = entry;
                Some(Appended { number, index, position, kind, records })
            }
            DumpItem::Damage(finding) => panic!("{finding}"),
            _ => None,
        };
        dumped(&self.stopped(), options.bodies(true)).into_iter().filter_map(appended).collect()
    }
}

#[test]
fn a_dump_says_what_was_appended() {
    let sample = Sample::new();
    assert_eq!(sample.dump(DumpOptions::default()), sample.appended);
}

#[test]
fn a_dump_of_some_indexes_has_these_and_nothing_else() {
    let sample = Sample::new();
    for (from, to) in [(0, 1), (20, 60), (70, 71), (85, 1000)] {
        let items = dumped(&sample.stopped(), DumpOptions::default().from(Some(from)).to(Some(to)).bodies(true));
        let records =
            items.into_iter().filter_map(|item| if let DumpItem::Entry(e) = item { Some(e.records) } else { None });
        let records: Vec<_> = records.flatten().map(|record| (record.index, record.body)).collect();
        let all: Vec<_> = (0..).zip(sample.records()).filter(|(index, _)| (from..to).contains(index)).collect();
        assert_eq!(records, all, "{from}..{to}");
    }
}

#[test]
fn a_dump_shows_the_files_beside_the_segments() {
    let sample = Sample::new();
    let items = dumped(&sample.stopped(), DumpOptions::default());
    let votes: Vec<_> =
        items.iter().filter_map(|i| if let DumpItem::Vote { term, .. } = i { Some(*term) } else { None }).collect();
    assert_eq!(votes, [3, 4]);
    let end = sample.records().len() as u64;
    let noted = items.iter().any(|i| {
        matches!(i, DumpItem::Progress { committed, durable, .. }
        if committed.index == end && durable.index == end)
    });
    assert!(noted, "{items:?}");
    assert!(items.iter().any(|i| matches!(i, DumpItem::Start { snapshot_bytes: Some(17), .. })));
    assert!(items.iter().any(|i| matches!(i, DumpItem::Identity { group, segment_size: SIZE, .. } if group == "g")));
    assert!(matches!(items.last(), Some(DumpItem::End { index, damages: 0, .. }) if *index == end));
}

#[test]
fn behind_a_damaged_header_the_next_entry_is_found() {
    let sample = Sample::new();
    let (bad, next) = (sample.batch(12).position, sample.appended[13].position);
    sample.flip(bad + 20);
    let items = dumped(&sample.stopped(), DumpOptions::default());
    let damage = items.iter().find_map(|item| if let DumpItem::Damage(finding) = item { Some(finding) } else { None });
    let damage = damage.unwrap();
    assert_eq!((damage.position, damage.goes_on), (Some(bad), Some(next)));
    let entries = items.iter().filter(|item| matches!(item, DumpItem::Entry(entry) if entry.verified)).count();
    assert_eq!(entries as u64, ENTRIES - 1);
}
