//! Every row of the recovery table, on real files: each test damages a log, compares what a start finds and knows, and
//! checks what the start does.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use super::*;
use crate::disk::Disk;
use crate::disk::hooked::HookedDisk;
use crate::format::entry::{ENTRY_HEADER, EntryHeader};
use crate::format::hard_state::LogPoint;
use crate::format::segment::{Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::log::directory::Directory;
use crate::log::hard_state::HardStateFile;
use crate::log::open::examine;
use crate::log::recovery::{Decision, EndCase, Known, decide};
use crate::log::start_file::PurgePoint;
use crate::segment::scanner::Break;

pub(super) const KNOWN: [Known; 3] = [Known::Nothing, Known::Durable, Known::Committed];

/// All cases. The match makes the compiler ask for new ones.
pub(super) const FINDS: [EndCase; 21] = {
    use Break::*;
    use EndCase::*;
    const fn listed(find: EndCase) -> bool {
        match find {
            CleanEnd | SealedEnd | UnwrittenEnd | ShortEnd | StaleTail | LostPage | LostHeader => true,
            MissingSegment | WrongSize | RottenSegment | OtherSegment | OtherHistory | StartNotReached => true,
            Broken(TornHeader | TornBody | TornBlank | RottenHeader) => true,
            Broken(RottenBody | RottenBlank | OtherPast | Unreadable) => true,
        }
    }
    assert!(listed(CleanEnd));
    [
        CleanEnd,
        SealedEnd,
        UnwrittenEnd,
        ShortEnd,
        StaleTail,
        LostPage,
        LostHeader,
        MissingSegment,
        WrongSize,
        RottenSegment,
        OtherSegment,
        Broken(TornHeader),
        Broken(TornBody),
        Broken(TornBlank),
        Broken(RottenHeader),
        Broken(RottenBody),
        Broken(RottenBlank),
        Broken(OtherPast),
        Broken(Unreadable),
        OtherHistory,
        StartNotReached,
    ]
};

/// Twelve entries: five in each of two sealed segments, whose blanks cross a sector, and two in the last, where the
/// first is shorter, so that the header of the second crosses a sector.
const ENTRY: u64 = 1592;
const SHORTER: u64 = 192;
pub(super) const BLANK: u64 = 7672;

/// Where entry `number` begins.
pub(super) fn position(number: u64) -> u64 {
    number / 5 * SIZE + SEGMENT_HEADER as u64 + number % 5 * ENTRY - if number == 11 { SHORTER } else { 0 }
}

/// A log with three entries noted as committed; `known` says what is noted of the others.
pub(super) struct Case {
    pub(super) dir: tempfile::TempDir,
    known: Known,
    pub(super) bad_sector: Option<(PathBuf, Range<u64>)>,
    /// Where the log must end once it is open.
    end: u64,
}

impl Case {
    pub(super) fn new(known: Known) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let fill = |log: &mut Log, numbers: Range<u64>| {
            for number in numbers {
                let length = match number {
                    10 => 1500 - SHORTER as usize,
                    _ if number % 5 == 4 => 1136,
                    _ => 1500,
                };
                let record = format!("{number:.<length$}");
                assert_eq!(append(log, &[&record]), number);
                assert_eq!(log.reader().entry_header(number).unwrap().unwrap().position, position(number));
            }
        };
        fill(&mut log, 0..3);
        commit_all(&log);
        flushed(&mut log);
        fill(&mut log, 3..12);
        if known >= Known::Durable {
            flushed(&mut log);
        }
        if known >= Known::Committed {
            commit_all(&log);
            flushed(&mut log);
        }
        closed(log);
        Self { dir, known, bad_sector: None, end: 12 }
    }

    pub(super) fn segment(&self, position: u64) -> PathBuf {
        self.dir.path().join("log").join(format!("{:020}", position / SIZE * SIZE))
    }

    /// Overwrites what lies at `position`.
    pub(super) fn write(&self, position: u64, bytes: &[u8]) {
        let file = RealDisk.open(&self.segment(position)).unwrap();
        file.write_at(bytes, position % SIZE).unwrap();
    }

    pub(super) fn read(&self, position: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        RealDisk.open(&self.segment(position)).unwrap().read_at(&mut bytes, position % SIZE).unwrap();
        bytes
    }

    pub(super) fn zero(&self, positions: Range<u64>) {
        self.write(positions.start, &vec![0; (positions.end - positions.start) as usize]);
    }

    pub(super) fn flip(&self, position: u64) {
        flip(&self.segment(position), position % SIZE);
    }

    fn resize(&self, position: u64, size: u64) {
        std::fs::OpenOptions::new().write(true).open(self.segment(position)).unwrap().set_len(size).unwrap();
    }

    fn note(&self, committed: LogPoint, durable: LogPoint) {
        let path = self.dir.path().join("log/hard-state");
        let mut file = HardStateFile::open(&RealDisk, &path, false).unwrap();
        file.note(committed, durable).unwrap();
    }

    /// Does the damage.
    pub(super) fn damage(&mut self, find: EndCase) {
        let last = position(11);
        match find {
            EndCase::CleanEnd => {
                if self.known > Known::Nothing {
                    self.zero(last..3 * SIZE);
                    self.end = 11;
                }
            }
            EndCase::SealedEnd => {
                std::fs::remove_file(self.segment(2 * SIZE)).unwrap();
                self.end = 10;
            }
            EndCase::UnwrittenEnd => {
                self.zero(2 * SIZE..3 * SIZE);
                self.end = 10;
            }
            EndCase::ShortEnd => {
                self.resize(2 * SIZE, 4096);
                self.end = 10;
            }
            EndCase::StaleTail => {
                self.zero(position(10)..last);
                self.end = 10;
            }
            EndCase::LostPage => {
                self.zero(position(7)..2 * SIZE);
                self.end = 7;
            }
            EndCase::LostHeader => {
                self.zero(SIZE..SIZE + SEGMENT_HEADER as u64);
                self.end = 5;
            }
            EndCase::MissingSegment => {
                std::fs::remove_file(self.segment(SIZE)).unwrap();
                self.end = 5;
            }
            EndCase::WrongSize => self.resize(SIZE, 4096),
            EndCase::RottenSegment => self.flip(SIZE + 40),
            EndCase::OtherSegment => {
                let mut header = SegmentHeader::decode(&self.read(SIZE, SEGMENT_HEADER)).unwrap();
                header.start.chain ^= 1;
                self.write(SIZE, &header.encode());
            }
            EndCase::Broken(kind) => self.break_with(kind),
            EndCase::OtherHistory => {
                let wrong = LogPoint { number: 3, index: 3, position: position(3), chain: 7 };
                let beyond = LogPoint { number: 20, index: 20, position: 3 * SIZE, chain: 0 };
                let past = LogPoint { number: 4, ..beyond };
                match self.known {
                    Known::Nothing => self.note(past, wrong),
                    Known::Durable => self.note(past, beyond),
                    Known::Committed => self.note(beyond, wrong),
                }
            }
            EndCase::StartNotReached => {
                let next = Cursor { position: 2 * SIZE + 4000, number: 30, index: 30, term: 1, timestamp: 0, chain: 5 };
                let parts = open(self.dir.path()).parts;
                let purged = Some(PurgePoint { term: 1, number: 29, next });
                parts.start.change(|start| start.purged = purged).unwrap();
                drop(parts);
                let beyond = LogPoint { number: 40, index: 40, position: 6 * SIZE, chain: 0 };
                match self.known {
                    Known::Nothing => {}
                    Known::Durable => self.note(LogPoint::default(), beyond),
                    Known::Committed => self.note(beyond, beyond),
                }
                self.end = 30;
            }
        }
    }

    /// Does damage to entry 10, or to the blank behind entry 9.
    fn break_with(&mut self, kind: Break) {
        let (entry, blank) = (position(10), SIZE + BLANK);
        self.end = 10;
        match kind {
            Break::TornHeader => {
                self.zero(position(11).next_multiple_of(512)..position(11) + 80);
                self.end = 11;
            }
            Break::TornBody => self.zero(entry / 512 * 512 + 512..entry / 512 * 512 + 1024),
            Break::TornBlank => self.zero(blank.next_multiple_of(512)..blank + 16),
            Break::RottenHeader => self.flip(entry + 20),
            Break::RottenBody => self.flip(entry + 200),
            Break::RottenBlank => self.flip(blank + 9),
            Break::OtherPast => {
                let mut bytes = self.read(entry, (position(11) - entry) as usize);
                let header = EntryHeader::decode(&bytes).unwrap();
                EntryHeader { previous: header.previous ^ 1, ..header }.seal(&mut bytes);
                self.write(entry, &bytes);
            }
            Break::Unreadable => {
                let at = entry % SIZE + ENTRY_HEADER as u64;
                self.bad_sector = Some((self.segment(entry), at..at + 100));
            }
        }
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        let Some((file, bad)) = self.bad_sector.clone() else { return Arc::new(RealDisk) };
        let touched = move |range: &Range<u64>| range.start < bad.end && range.end > bad.start;
        Arc::new(HookedDisk::on_read(move |path, range| match path == file && touched(&range) {
            true => Err(rustix::io::Errno::IO.into()),
            false => Ok(()),
        }))
    }

    pub(super) fn open(&self) -> Result<(Log, Recovered), OpenError> {
        Log::open(self.disk(), self.dir.path().join("log"), identity(), options())
    }

    /// What a start finds and knows before it does anything.
    fn examine(&self) -> (EndCase, Known) {
        let directory = Directory::open(self.disk().as_ref(), self.dir.path().join("log"), identity()).unwrap();
        let examined = examine(&self.disk(), &directory).unwrap();
        (examined.walk.ended.case, examined.known)
    }
}

#[test]
fn every_row_is_found_and_decided() {
    for find in FINDS {
        for known in KNOWN {
            let row = format!("{} / {known:?}", find.name());
            let mut case = Case::new(known);
            case.damage(find);
            assert_eq!(case.examine(), (find, known), "{row}");
            let before = segment_bytes(case.dir.path());
            let decision = decide(find, known);
            match (decision, case.open()) {
                (Decision::Keep | Decision::Cut | Decision::Restart, Ok((log, recovered))) => {
                    let cut = (decision == Decision::Cut).then_some(find);
                    assert_eq!(recovered.cut.map(|cut| cut.case), cut, "{row}");
                    assert_eq!(log.end().number, case.end, "{row}");
                    case.goes_on(log, &row);
                }
                (Decision::Refuse, Err(OpenError::Damaged(damage))) => {
                    let shown = damage.to_string();
                    assert!(
                        !damage.mismatch.found.is_empty() && !damage.mismatch.expected.is_empty(),
                        "{row}: {shown}"
                    );
                    assert!(damage.file.starts_with(case.dir.path()), "{row}: {shown}");
                    assert_eq!(segment_bytes(case.dir.path()), before, "{row}: changed");
                }
                (decision, opened) => panic!("{row}: {decision:?}, but {:?}", opened.map(|(_, recovered)| recovered)),
            }
        }
    }
}

/// Pages reach the disk in any order: the sector with the header did not, later ones did.
#[test]
fn entries_behind_a_header_that_was_never_written_are_cut_and_reported() {
    for known in KNOWN {
        let case = Case::new(known);
        case.zero(2 * SIZE..2 * SIZE + SEGMENT_HEADER as u64);
        match case.open() {
            Ok((log, recovered)) => {
                assert_eq!((known, log.end().number), (Known::Nothing, 10));
                let cut = recovered.cut.expect("two entries went, and nobody was told");
                assert_eq!((cut.case, cut.lost.entries, cut.lost.indexes()), (EndCase::LostHeader, 2, Some(10..12)));
                let told = cut.to_string();
                assert!(told.contains("2 entries with 2 records, of indexes 10 to 11"), "{told}");
                case.goes_on(log, "no header");
            }
            Err(error) => assert!(known > Known::Nothing, "{error}"),
        }
    }
}

#[test]
fn what_can_still_be_read_of_a_tail_that_goes_is_reported() {
    let rows = [
        (EndCase::UnwrittenEnd, None),
        (EndCase::ShortEnd, Some((2, 10..12))),
        (EndCase::StaleTail, Some((1, 11..12))),
        (EndCase::LostPage, Some((2, 10..12))),
        (EndCase::LostHeader, Some((7, 5..12))),
        (EndCase::MissingSegment, Some((2, 10..12))),
        (EndCase::Broken(Break::TornBody), Some((1, 11..12))),
    ];
    for (find, expected) in rows {
        let mut case = Case::new(Known::Nothing);
        case.damage(find);
        let (_, recovered) = case.open().unwrap();
        let lost = recovered.cut.map(|cut| (cut.lost.entries, cut.lost.indexes().unwrap_or_default()));
        assert_eq!(lost, expected, "{}", find.name());
    }
}

impl Case {
    /// The opened log takes entries, and opens again without anything to report.
    fn goes_on(&self, mut log: Log, row: &str) {
        append(&mut log, &["after"]);
        flushed(&mut log);
        let end = log.end();
        closed(log);
        let (log, recovered) = self.open().unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!((log.end(), recovered.cut), (end, None), "{row}");
    }
}

#[test]
fn checksums_of_both_sides_are_named() {
    let mut case = Case::new(Known::Committed);
    case.damage(EndCase::Broken(Break::RottenBody));
    let Err(OpenError::Damaged(damage)) = case.open().map(drop) else { panic!("opened") };
    let entry = EntryHeader::decode(&case.read(position(10), ENTRY_HEADER)).unwrap();
    assert_eq!((damage.position, damage.index), (position(10), 10));
    assert_eq!(damage.mismatch.found, format!("{:#010x}", entry.chain));
    assert!(damage.mismatch.expected.starts_with("0x") && damage.mismatch.expected.contains("computed"), "{damage}");
    assert!(damage.mismatch.expected.contains("below index 12 are committed"), "{damage}");
}

/// The page of `docs/recovery.md` is the table.
/// In a mapping a bad sector would be a fault that kills the process.
#[test]
fn a_bad_sector_under_the_first_read_is_damage() {
    let mut case = Case::new(Known::Committed);
    case.bad_sector = Some((case.segment(0), position(1) + 300..position(1) + 400));
    let (log, _) = case.open().unwrap();
    let reader = log.reader();
    assert!(reader.record(0).is_ok());
    match reader.record(1) {
        Err(ReadError::Damaged(damage)) => {
            assert_eq!((&*damage.mismatch.what, damage.index, damage.position), ("read of the disk", 1, position(1)));
        }
        other => panic!("{other:?}"),
    }
    assert!(reader.record(2).is_ok());
}

#[test]
fn the_table_is_the_documented_one() {
    let page = include_str!("../../../docs/recovery.md");
    let names: HashSet<_> = FINDS.iter().map(|find| find.name()).collect();
    assert_eq!(names.len(), FINDS.len(), "two rows of one name");
    for find in FINDS {
        let decisions = KNOWN.map(|known| format!("{:?}", decide(find, known)).to_lowercase());
        let row = format!("| {} | {} |", find.name(), decisions.join(" | "));
        assert!(page.contains(&row), "docs/recovery.md lacks the row\n{row}");
    }
}
