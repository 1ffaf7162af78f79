//! Points noted behind a roll that is later taken back.

use parking_lot::Mutex;

use super::*;
use crate::disk::hooked::HookedDisk;
use crate::format::entry::EntryKind;
use crate::format::segment::SEGMENT_HEADER;

fn by_hand(dir: &Path) -> Log {
    let options = LogOptions { scheduler: Arc::new(ByHand), ..options() };
    Log::open(Arc::new(RealDisk), dir.join("log"), identity(), options).unwrap().0
}

/// An entry that does not fit rolls; a flush pass comes before it is written, and it never is.
fn flushed_behind_a_roll(dir: &Path) -> Log {
    let mut log = by_hand(dir);
    append(&mut log, &[&"x".repeat(6000)]);
    log.parts.flusher.flush();
    log.make_room(6000, EntryKind::Batch).unwrap();
    log.parts.flusher.flush();
    let noted = log.parts.flusher.hard_state().noted().durable;
    assert_eq!((noted.number, noted.position), (1, SIZE + SEGMENT_HEADER as u64));
    log
}

#[test]
fn nothing_is_noted_as_durable_behind_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = flushed_behind_a_roll(dir.path());
    let end = log.reader().entry_header(0).unwrap().unwrap().end();
    let cut = Cursor { position: end, ..log.end() }.point();
    log.parts.flusher.lower_durable(cut).unwrap();
    assert_eq!(log.parts.flusher.hard_state().noted().durable, cut);
    assert_eq!(log.parts.flusher.durable_position(), end);
}

/// The last note of a start is not synced, so a power loss leaves the note before it. Because of that older note no
/// start may believe torn entries that replaced the roll.
#[test]
fn what_comes_in_the_place_of_a_roll_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    closed(flushed_behind_a_roll(dir.path()));
    // As after the sync of the lowered note: every later write is lost.
    let file = dir.path().join("log/hard-state");
    let lowered = {
        let lowered = Arc::new(Mutex::new(Vec::new()));
        let (seen, watched) = (lowered.clone(), file.clone());
        let disk = HookedDisk::before_sync(move |path, _| {
            if path == watched {
                *seen.lock() = std::fs::read(path)?;
            }
            Ok(())
        });
        let options = LogOptions { scheduler: Arc::new(ByHand), ..options() };
        let mut log = Log::open(Arc::new(disk), dir.path().join("log"), identity(), options).unwrap().0;
        assert_eq!(log.parts.segments.read().len(), 1, "the roll is taken back");
        append(&mut log, &[&"y".repeat(1000)]);
        append(&mut log, &[&"z".repeat(6000)]);
        assert_eq!(log.parts.segments.read().len(), 2, "the test must roll");
        closed(log);
        lowered.lock().clone()
    };
    std::fs::write(&file, lowered).unwrap();
    let segment = dir.path().join("log").join(names::segment(0));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[6656..7168].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    let log = open(dir.path());
    for number in log.reader().numbers() {
        let frame = log.reader().frame(number);
        assert!(frame.is_ok(), "a start counts entry {number}, but {}", frame.unwrap_err());
    }
}
