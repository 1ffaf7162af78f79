//! [`diff()`]: finds the first difference between two replicas.

use std::ops::Range;

use serde::Serialize;

use super::item::EntryItem;
use super::survey::{NOWHERE, Surveyed};
use super::{OfflineError, StoppedLedger};
use crate::format::entry::EntryHeader;
use crate::format::segment::SEGMENT_HEADER;

/// Bytes compared at once: two buffers of this size are in memory, and a segment may be far larger.
const CHUNK: u64 = 1 << 20;

/// How two replicas differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "comparison", rename_all = "snake_case")]
pub enum Comparison {
    /// The replicas are equal, as far as both hold bytes.
    Equal {
        /// Position of the first byte compared.
        from: u64,
        /// Position after the last byte compared.
        to: u64,
    },
    /// One replica holds all that the other holds, and then more.
    Prefix {
        /// The replica that holds less.
        shorter: Side,
        /// Position where the shorter replica ends.
        position: u64,
        /// Index where the shorter replica ends.
        index: u64,
        /// Number where the shorter replica ends.
        number: u64,
        /// Entries that the shorter replica lacks.
        entries: u64,
        /// Records that the shorter replica lacks.
        records: u64,
    },
    /// The replicas differ from that place on.
    Differ(Box<Difference>),
    /// The replicas have no segment in common.
    NothingInCommon {
        /// Positions that the left replica holds.
        left: Range<u64>,
        /// Positions that the right replica holds.
        right: Range<u64>,
    },
}

/// One of the two replicas, by its place in the call of [`diff()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first replica.
    Left,
    /// The second replica.
    Right,
}

/// The first place where two replicas differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Where the differing entry begins; without an entry on either side, the first byte that differs.
    pub position: u64,
    /// Index of the entry's first record, as far as it is known.
    pub index: u64,
    /// The entry's number, as far as it is known.
    pub number: u64,
    /// The left replica's entry, if its header can be read.
    pub left: Option<EntryItem>,
    /// The right replica's entry, if its header can be read.
    pub right: Option<EntryItem>,
    /// The header fields that differ.
    pub fields: Vec<FieldDifference>,
    /// Position of the first byte that differs.
    pub first_byte: u64,
    /// Number of bytes of the entry that differ.
    pub bytes: u64,
    /// The left replica's byte at `first_byte`.
    pub left_byte: u8,
    /// The right replica's byte at `first_byte`.
    pub right_byte: u8,
}

/// A field of an entry header that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// The field's name.
    pub field: &'static str,
    /// The left replica's value.
    pub left: String,
    /// The right replica's value.
    pub right: String,
}

/// Compares two replicas of one ledger byte by byte, from the first position that both hold to the last.
///
/// # Errors
/// If the two are not replicas of one ledger, the identity of one cannot be read, or the system fails.
pub fn diff(left: &StoppedLedger, right: &StoppedLedger) -> Result<Comparison, OfflineError> {
    same_ledger(left, right)?;
    let sides = [left, right];
    let [ours, theirs] = sides.map(StoppedLedger::positions);
    let Some(first) = ours.iter().find(|at| theirs.contains(at)).copied() else {
        let held = |at: &[u64]| at.first().copied().unwrap_or(0)..at.last().map_or(0, |at| at + left.segment_size);
        return Ok(Comparison::NothingInCommon { left: held(&ours), right: held(&theirs) });
    };
    let from = begins(left, first)?.max(begins(right, first)?);
    let mut to = from;
    let mut positions: Vec<_> = ours.iter().chain(&theirs).copied().filter(|at| *at >= first).collect();
    positions.sort_unstable();
    positions.dedup();
    for position in positions {
        match (ours.binary_search(&position).is_ok(), theirs.binary_search(&position).is_ok()) {
            (true, true) => {}
            // A replica that has a later segment lacks this one; a replica that has none ends here.
            (false, _) if ours.last() < Some(&position) => return shorter(sides, Side::Left, position, to),
            (_, false) if theirs.last() < Some(&position) => return shorter(sides, Side::Right, position, to),
            _ => return Ok(Comparison::Differ(describe(sides, position, position)?)),
        }
        if let Some(at) = first_difference(sides, from.max(position), position)? {
            let last = [ours.last() == Some(&position), theirs.last() == Some(&position)];
            for (side, last) in [Side::Left, Side::Right].into_iter().zip(last) {
                if last && has_ended(sides[side as usize], position, at)? {
                    return shorter(sides, side, position, at);
                }
            }
            return Ok(Comparison::Differ(describe(sides, position, at)?));
        }
        to = contents(left, position)?.end.max(to);
    }
    Ok(Comparison::Equal { from, to })
}

/// Where the first entry of the segment at `position` begins, behind a gap if there is one.
fn begins(side: &StoppedLedger, position: u64) -> Result<u64, OfflineError> {
    let header = position + SEGMENT_HEADER as u64;
    let gap = contents(side, position)?.blanks.into_iter().find(|(at, seals)| at.start == header && !seals);
    Ok(gap.map_or(header, |(gap, _)| gap.end))
}

/// The contents of one segment: entries, each with whether it fits, and blanks, each with whether it seals.
struct SegmentContents {
    entries: Vec<(EntryHeader, bool)>,
    blanks: Vec<(Range<u64>, bool)>,
    end: u64,
}

fn contents(side: &StoppedLedger, position: u64) -> Result<SegmentContents, OfflineError> {
    let mut contents = SegmentContents { entries: Vec::new(), blanks: Vec::new(), end: position };
    side.segment(position, true, NOWHERE, None, &mut |seen| -> Result<(), OfflineError> {
        match seen {
            Surveyed::Entry { header, fits, .. } => contents.entries.push((header, fits)),
            Surveyed::Blank { position, length, seals, .. } => {
                contents.blanks.push((position..position + length, seals))
            }
            Surveyed::Ends(ends) => contents.end = ends.end.position,
            Surveyed::Segment { .. } | Surveyed::Problem(_) => {}
        }
        Ok(())
    })?;
    Ok(contents)
}

/// The bytes of the segment at `position` from position `at` on; fewer than `length` at its end.
fn bytes(side: &StoppedLedger, position: u64, at: u64, length: u64) -> Result<Vec<u8>, OfflineError> {
    let path = side.segment_path(position);
    let file = StoppedLedger::io("open", &path, side.disk.open(&path))?;
    let length = length.min((position + file.size()).saturating_sub(at));
    let mut bytes = vec![0; length as usize];
    StoppedLedger::io("read", &path, file.read_at(&mut bytes, at - position))?;
    Ok(bytes)
}

/// The first position from `at` on, in the segment at `position`, at which the two sides differ.
fn first_difference(sides: [&StoppedLedger; 2], mut at: u64, position: u64) -> Result<Option<u64>, OfflineError> {
    let end = position + sides[0].segment_size;
    while at < end {
        let length = CHUNK.min(end - at);
        let (ours, theirs) = (bytes(sides[0], position, at, length)?, bytes(sides[1], position, at, length)?);
        if ours != theirs {
            let same = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
            return Ok(Some(at + same as u64));
        }
        if ours.len() as u64 != length {
            return Ok(None);
        }
        at += length;
    }
    Ok(None)
}

/// Whether the log of `side` ends at `at`: only zeros follow in the segment, and no entry reaches over `at`.
fn has_ended(side: &StoppedLedger, position: u64, at: u64) -> Result<bool, OfflineError> {
    if contents(side, position)?.entries.iter().any(|(entry, _)| (entry.position..entry.end()).contains(&at)) {
        return Ok(false);
    }
    let end = position + side.segment_size;
    let mut from = at;
    while from < end {
        let rest = bytes(side, position, from, CHUNK.min(end - from))?;
        if rest.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += CHUNK;
    }
    Ok(true)
}

/// One side ends at `at`, in or before the segment at `position`; the other goes on, or is merely sealed.
fn shorter(sides: [&StoppedLedger; 2], shorter: Side, position: u64, at: u64) -> Result<Comparison, OfflineError> {
    let longer = sides[1 - shorter as usize];
    let (mut first, mut entries, mut records) = (None, 0, 0);
    for position in longer.positions().into_iter().filter(|later| *later >= position) {
        for (entry, _) in contents(longer, position)?.entries.into_iter().filter(|(entry, _)| entry.position >= at) {
            first.get_or_insert(entry);
            entries += 1;
            records += u64::from(entry.records);
        }
    }
    match first {
        Some(EntryHeader { index, number, .. }) => {
            Ok(Comparison::Prefix { shorter, position: at, index, number, entries, records })
        }
        None if contents(longer, position)?.blanks.iter().any(|(blank, _)| blank.start == at) => {
            Ok(Comparison::Equal { from: begins(longer, position)?.min(at), to: at })
        }
        // The longer side has only begun another, empty segment.
        None if longer.positions().last() == Some(&position) && at < position => {
            Ok(Comparison::Equal { from: at.min(position), to: at })
        }
        None => Ok(Comparison::Differ(describe(sides, position, at)?)),
    }
}

/// Describes the difference at `at`, in the segment at `position`.
fn describe(sides: [&StoppedLedger; 2], position: u64, at: u64) -> Result<Box<Difference>, OfflineError> {
    let mut items = [None, None];
    let mut place = (0, 0);
    for (item, side) in items.iter_mut().zip(sides) {
        if side.positions().binary_search(&position).is_err() {
            continue;
        }
        let entries = contents(side, position)?.entries;
        if let Some((before, _)) = entries.iter().rev().find(|(entry, _)| entry.position <= at) {
            place = place.max((before.number + 1, before.index + u64::from(before.records)));
        }
        let holds = entries.iter().find(|(entry, _)| (entry.position..entry.end()).contains(&at));
        *item = holds.map(|(entry, fits)| EntryItem::new(entry, *fits));
    }
    let known: Vec<&EntryItem> = items.iter().flatten().collect();
    let (from, until) = match known.as_slice() {
        [] => (at, at + 1),
        known => (
            known.iter().map(|item| item.position).min().unwrap_or(at),
            known.iter().map(|item| item.position + item.length).max().unwrap_or(at),
        ),
    };
    if let Some(item) = known.first() {
        place = (item.number, item.index);
    }
    let fields = match known.as_slice() {
        [ours, theirs] => fields(ours, theirs),
        _ => Vec::new(),
    };
    let [ours, theirs] = sides.map(|side| match side.positions().binary_search(&position) {
        Ok(_) => bytes(side, position, from, until - from),
        Err(_) => Ok(Vec::new()),
    });
    let (ours, theirs) = (ours?, theirs?);
    let byte = |bytes: &[u8]| bytes.get((at - from) as usize).copied().unwrap_or(0);
    let longest = ours.len().max(theirs.len());
    let differ = (0..longest).filter(|nth| ours.get(*nth) != theirs.get(*nth)).count() as u64;
    let (left_byte, right_byte) = (byte(&ours), byte(&theirs));
    let [left, right] = items;
    let (number, index) = place;
    Ok(Box::new(Difference {
        position: from,
        index,
        number,
        left,
        right,
        fields,
        first_byte: at,
        bytes: differ,
        left_byte,
        right_byte,
    }))
}

fn fields(left: &EntryItem, right: &EntryItem) -> Vec<FieldDifference> {
    let chain = |value: u32| format!("{value:08x}");
    let all = [
        ("kind", left.kind.name().to_owned(), right.kind.name().to_owned()),
        ("position", left.position.to_string(), right.position.to_string()),
        ("length", left.length.to_string(), right.length.to_string()),
        ("number", left.number.to_string(), right.number.to_string()),
        ("term", left.term.to_string(), right.term.to_string()),
        ("index", left.index.to_string(), right.index.to_string()),
        ("records", left.count.to_string(), right.count.to_string()),
        ("committed", left.committed.to_string(), right.committed.to_string()),
        ("timestamp", left.timestamp.to_string(), right.timestamp.to_string()),
        ("previous", chain(left.previous), chain(right.previous)),
        ("chain", chain(left.chain), chain(right.chain)),
    ];
    let differs = all.into_iter().filter(|(_, left, right)| left != right);
    differs.map(|(field, left, right)| FieldDifference { field, left, right }).collect()
}

fn same_ledger(left: &StoppedLedger, right: &StoppedLedger) -> Result<(), OfflineError> {
    let (ours, theirs) = (left.identity()?, right.identity()?);
    let fields = [
        ("the cluster", ours.cluster.to_string(), theirs.cluster.to_string()),
        ("the group", ours.group.to_string(), theirs.group.to_string()),
        ("the segment size", ours.segment_size.to_string(), theirs.segment_size.to_string()),
    ];
    for (what, ours, theirs) in fields {
        if ours != theirs {
            let (left_dir, right_dir) = (left.path.clone(), right.path.clone());
            return Err(OfflineError::OtherLedger { what, left: ours, right: theirs, left_dir, right_dir });
        }
    }
    Ok(())
}
