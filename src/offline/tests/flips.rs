//! No flipped bit goes unnoticed, and none reaches a reader.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::*;
use crate::error::ReadError;
use crate::format::entry::ENTRY_HEADER;
use crate::format::hard_state::{SLOT, SLOT_DISTANCE};
use crate::format::segment::BLANK_HEADER;

/// A byte of a file, and the bits of it that are flipped, one at a time.
#[derive(Debug, Clone)]
struct Target {
    file: String,
    byte: u64,
    bits: Range<u8>,
    /// A start can make anew whatever its file loses.
    replaceable: bool,
}

impl Sample {
    /// One bit of every byte that is read: the segments up to the end of the log, the hard state, identity, start and
    /// index; and all bits of an entry's header, a segment's, a blank's and of each slot of the hard state.
    fn targets(&self) -> Vec<Target> {
        let ledger = self.stopped();
        let mut end = 0;
        let mut all_bits: Vec<(String, Range<u64>)> = Vec::new();
        for item in dumped(&ledger, DumpOptions::default()) {
            match item {
                DumpItem::Segment { position, .. } => {
                    all_bits.push((names::segment(position), 0..SEGMENT_HEADER as u64))
                }
                DumpItem::Entry(entry) => {
                    end = entry.position + entry.length;
                    if entry.number == 13 {
                        let at = entry.position % SIZE;
                        let file = names::segment(entry.position - at);
                        all_bits.push((file, at..at + ENTRY_HEADER as u64));
                    }
                }
                DumpItem::Blank { position, .. } => {
                    let at = position % SIZE;
                    all_bits.push((names::segment(position - at), at..at + BLANK_HEADER as u64));
                }
                DumpItem::Damage(finding) => panic!("{finding}"),
                _ => {}
            }
        }
        for slot in [0, 3] {
            let at = slot * SLOT_DISTANCE;
            all_bits.push((names::HARD_STATE.into(), at..at + SLOT as u64));
        }
        let mut targets = Vec::new();
        for (file, bytes) in self.content() {
            let replaceable = file.ends_with(".index");
            let count = match names::kind(&file) {
                Some(FileKind::Segment(position)) => end.saturating_sub(position).min(SIZE),
                _ if file == names::SPARE || file == names::BALLAST => 0,
                _ => bytes.len() as u64,
            };
            for byte in 0..count {
                if file == names::HARD_STATE && byte % SLOT_DISTANCE >= SLOT as u64 {
                    continue;
                }
                let all = all_bits.iter().any(|(name, range)| *name == file && range.contains(&byte));
                let one = (byte % 8) as u8;
                let bits = if all { 0..8 } else { one..one + 1 };
                targets.push(Target { file: file.clone(), byte, bits, replaceable });
            }
        }
        targets
    }

    fn file(&self, target: &Target) -> File {
        OpenOptions::new().read(true).write(true).open(self.path().join(&target.file)).unwrap()
    }

    /// Does `look` for every flip, and takes it back. Returns how many there were.
    fn with_each_flip(&self, targets: &[Target], mut look: impl FnMut(&Target, u8)) -> usize {
        let mut flips = 0;
        for target in targets {
            for bit in target.bits.clone() {
                let mut byte = [0];
                self.file(target).read_exact_at(&mut byte, target.byte).unwrap();
                self.file(target).write_all_at(&[byte[0] ^ (1 << bit)], target.byte).unwrap();
                look(target, bit);
                self.file(target).write_all_at(&byte, target.byte).unwrap();
                flips += 1;
            }
        }
        flips
    }

    /// The entry whose body holds the byte.
    fn in_body(&self, target: &Target) -> Option<&Appended> {
        let Some(FileKind::Segment(segment)) = names::kind(&target.file) else { return None };
        let at = segment + target.byte;
        let entry = self.appended.iter().rev().find(|entry| entry.position <= at)?;
        let body: usize = entry.records.iter().map(|record| record.len() + 8).sum();
        let range = entry.position + ENTRY_HEADER as u64..entry.position + (ENTRY_HEADER + body) as u64;
        range.contains(&at).then_some(entry)
    }
}

#[test]
fn a_sample_is_clean_and_has_everything() {
    let sample = Sample::new();
    let (findings, summary) = verified(&sample.stopped());
    assert_eq!(findings, []);
    assert_eq!((summary.segments, summary.entries, summary.records), (3, ENTRIES, sample.records().len() as u64));
    assert_eq!((summary.committed, summary.durable, summary.end), (summary.end, summary.end, summary.records));
    assert_eq!((summary.at_start, summary.why), (AtStart::Keep, None));
    let content = sample.content();
    for name in ["identity", "start", "hard-state", "00000000000000000000.index", "00000000000000008192.index"] {
        assert!(!content[name].is_empty(), "{name}");
    }
    let slots = content["hard-state"].chunks(SLOT_DISTANCE as usize).filter(|slot| slot[..8] != [0; 8]).count();
    assert_eq!(slots, 4, "all slots are to be written");
}

#[test]
fn verify_notices_every_flipped_byte_and_every_bit_of_the_headers() {
    let sample = Sample::new();
    let targets = sample.targets();
    let mut unnoticed = Vec::new();
    let flips = sample.with_each_flip(&targets, |target, bit| {
        let (findings, summary) = verified(&sample.stopped());
        let wanted = if target.replaceable { Severity::Note } else { Severity::Damage };
        let named = findings.iter().any(|finding| {
            finding.severity >= wanted && finding.file.file_name().unwrap().to_string_lossy() == *target.file
        });
        if !named || summary.damages + summary.notes != findings.len() as u64 {
            unnoticed.push(format!("bit {bit} of byte {} of {}: {findings:?}", target.byte, target.file));
        }
    });
    assert!(flips > 18_000, "only {flips} flips");
    assert!(
        unnoticed.is_empty(),
        "{} of {flips} unnoticed:\n{}",
        unnoticed.len(),
        unnoticed[..9.min(unnoticed.len())].join("\n")
    );
}

#[test]
fn what_opens_after_a_flip_gives_the_right_records_or_none() {
    let sample = Sample::new();
    let (mut targets, content, records, options) = (sample.targets(), sample.content(), sample.records(), options());
    targets.iter_mut().for_each(|target| target.bits.end = target.bits.start + 1);
    let (mut opened, mut refused) = (0, 0);
    sample.with_each_flip(&targets, |target, bit| {
        let flip = format!("bit {bit} of byte {} of {}", target.byte, target.file);
        let open = Log::open(Arc::new(HookedDisk::without_syncs()), sample.path(), identity("n0"), options.clone());
        let Ok((log, _)) = open else {
            refused += 1;
            return;
        };
        opened += 1;
        let reader = log.reader();
        if let Some(entry) = sample.in_body(target) {
            let first = reader.record(entry.index);
            assert!(matches!(first, Err(ReadError::Damaged(_))), "{flip}: {first:?}");
        }
        for (index, expected) in (0..).zip(&records) {
            match reader.record(index) {
                Ok(record) => assert_eq!(record.body, expected, "{flip}: record {index}"),
                Err(ReadError::Damaged(_)) => {}
                // The older of the two notes knows of fewer commits.
                Err(ReadError::NotYet { .. }) if target.file == names::HARD_STATE => {}
                Err(error) => panic!("{flip}: record {index}: {error}"),
            }
        }
        close(log);
        sample.restore(&content);
    });
    assert!(opened > 5_000 && refused > 2_000, "{opened} opened, {refused} refused");
}

#[test]
fn a_dump_goes_on_behind_every_flip() {
    let sample = Sample::new();
    let whole = dumped(&sample.stopped(), DumpOptions::default()).len();
    let numbers = |items: &[DumpItem]| -> Vec<u64> {
        let number = |item: &DumpItem| if let DumpItem::Entry(entry) = item { Some(entry.number) } else { None };
        items.iter().filter_map(number).collect()
    };
    let segments = sample.targets().into_iter().filter(|target| target.file.len() == 20).step_by(3);
    let targets: Vec<_> = segments.collect();
    sample.with_each_flip(&targets, |target, bit| {
        let items = dumped(&sample.stopped(), DumpOptions::default().bodies(true));
        let flip = format!("bit {bit} of byte {} of {}", target.byte, target.file);
        assert!(items.len() + 2 >= whole, "{flip}: {} items of {whole}", items.len());
        assert!(numbers(&items).len() as u64 >= ENTRIES - 1, "{flip}: {:?}", numbers(&items));
        assert!(items.iter().any(|item| matches!(item, DumpItem::Damage(_))), "{flip}");
        assert!(
            matches!(items.last(), Some(DumpItem::End { number, .. }) if *number >= ENTRIES - 1),
            "{flip}: {:?}",
            items.last()
        );
    });
}
