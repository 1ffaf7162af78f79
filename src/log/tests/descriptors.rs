//! What a log needs of the system: descriptors, blocks, and the time of a slow disk.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use parking_lot::Condvar;

use super::*;
use crate::disk::hooked::HookedDisk;
use crate::log::admission::Admission;

/// How many files of the log in `dir` this process has open. Mappings are not among them.
fn open_files(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    let ours = names.filter(|name| name.parent() == Some(&dir.join("log")));
    ours.map(|name| name.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn segments_open(dir: &Path) -> usize {
    open_files(dir).iter().filter(|name| matches!(names::kind(name), Some(names::FileKind::Segment(_)))).count()
}

fn open_on(disk: &HookedDisk, dir: &Path) -> Log {
    Log::open(Arc::new(disk.clone()), dir.join("log"), identity(), options()).unwrap().0
}

/// A record so large that two entries fill a segment.
fn large() -> String {
    "x".repeat(3500)
}

fn roll_until(log: &mut Log, segments: usize) {
    while log.parts.segments.read().len() < segments {
        append(log, &[&large()]);
        if log.end().number.is_multiple_of(100) {
            flushed(log);
            commit_all(log);
        }
    }
    append(log, &[&large()]);
    flushed(log);
    commit_all(log);
    // The pass after it notes the commit point, for a start.
    append(log, &["a little"]);
    flushed(log);
}

fn exhausted() -> io::Error {
    rustix::io::Errno::MFILE.into()
}

/// A disk on which nothing can be opened while the flag is set.
fn without_descriptors() -> (HookedDisk, Arc<AtomicBool>) {
    let none_left = Arc::new(AtomicBool::new(false));
    let flag = none_left.clone();
    let refuse = move |_: &Path| if flag.load(Ordering::Relaxed) { Err(exhausted()) } else { Ok(()) };
    (HookedDisk::on_open(refuse), none_left)
}

#[test]
fn sealed_segments_hold_no_descriptor() {
    let wanted = std::env::var("DLEDGER_SEGMENTS").ok().map_or(200, |count| count.parse().unwrap());
    if wanted < 20_000 {
        println!("skipped: 20000 segments; DLEDGER_SEGMENTS=20000 tries them");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    roll_until(&mut log, wanted);
    assert_eq!(segments_open(dir.path()), 1, "{:?}", open_files(dir.path()));
    let end = log.end().number;
    log.closer().close().unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!((log.end().number, segments_open(dir.path())), (end, 1), "{:?}", open_files(dir.path()));
    assert_eq!(bodies(&log.reader()).len() as u64, log.progress().committed());
    assert_eq!(segments_open(dir.path()), 1, "after all was read: {:?}", open_files(dir.path()));
}

/// A segment keeps its descriptor as long as a truncation may write to it.
#[test]
fn a_segment_is_let_go_of_when_it_is_durable_and_committed_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    while log.parts.segments.read().len() < 4 {
        append(&mut log, &[&large()]);
    }
    assert_eq!(segments_open(dir.path()), 4, "nothing is durable");
    flushed(&mut log);
    assert_eq!(segments_open(dir.path()), 4, "nothing is committed");
    log.committer().commit(log.parts.segments.read()[2].start().number).unwrap();
    assert_eq!(segments_open(dir.path()), 2);
    // Truncates into a sealed segment.
    let from = log.parts.segments.read()[2].start().number + 1;
    log.truncate(from).unwrap();
    append(&mut log, &["in its place"]);
    flushed(&mut log);
    assert_eq!(log.end().number, from + 1);
}

#[test]
fn without_a_descriptor_a_roll_is_refused_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, none_left) = without_descriptors();
    let mut log = open_on(&disk, dir.path());
    none_left.store(true, Ordering::Relaxed);
    let error = (0..20).find_map(|_| log.append_draft(Draft::batch(&[large()]), 1, 0).err()).unwrap();
    assert_eq!(error.raw_os_error(), exhausted().raw_os_error(), "{error}");
    let Admission::Full(why) = log.capacity().room_for(4000, 0, 1000) else { panic!("there is room") };
    assert!(why.process && why.why.contains("descriptor"), "{why}");
    assert_eq!(log.capacity().disk_full(), None, "the disk is not full");
    assert_eq!(log.reader().failure(), None);
    none_left.store(false, Ordering::Relaxed);
    assert_eq!(log.capacity().room_for(4000, 0, 9000), Admission::Now);
    roll_until(&mut log, 5);
}

/// A purge must write the start file; while the process has no descriptor for that, the purge changes nothing.
#[test]
fn where_the_log_begins_is_written_as_soon_as_there_is_a_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Arc::new(AtomicU64::new(0));
    let refusals = missing.clone();
    let disk = HookedDisk::before_rename(move |_, to| {
        let refused = to.ends_with(names::START)
            && refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if refused { Err(exhausted()) } else { Ok(()) }
    });
    let mut log = open_on(&disk, dir.path());
    roll_until(&mut log, 4);
    missing.store(3, Ordering::Relaxed);
    log.committer().save_snapshot(b"members".to_vec()).unwrap();
    missing.store(3, Ordering::Relaxed);
    let second = log.parts.segments.read()[1].start().number;
    log.purge(1, second).unwrap();
    assert_eq!((log.reader().failure(), missing.load(Ordering::Relaxed)), (None, 0));
    // Not for ever.
    missing.store(u64::MAX, Ordering::Relaxed);
    let error = log.committer().save_snapshot(b"more".to_vec()).unwrap_err();
    assert!(error.to_string().contains("saving the snapshot"), "{error}");
    assert!(log.reader().failure().is_some());
}

/// A log without a segment still knows the position of its next entry, which may be near the end of a segment.
#[test]
fn the_first_entry_of_a_log_without_a_segment_rolls_when_it_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, none_left) = without_descriptors();
    let mut log = open_on(&disk, dir.path());
    append(&mut log, &["before"]);
    flushed(&mut log);
    none_left.store(true, Ordering::Relaxed);
    // The spare was made before the descriptors ran out.
    while log.parts.spare.take(&dir.path().join("log/gone")).is_ok() {}
    let next = Cursor { position: 3 * SIZE - 400, number: 11, index: 11, term: 1, timestamp: 0, chain: 1 };
    log.reset(1, 10, next).unwrap();
    assert_eq!((log.reader().failure(), log.parts.segments.read().len()), (None, 0));
    none_left.store(false, Ordering::Relaxed);
    assert_eq!(log.capacity().room_for(4000, 0, 9000), Admission::Now);
    let header = log.append_draft(Draft::batch(&[large()]), 1, 0).unwrap();
    assert_eq!(header.position, 3 * SIZE + crate::format::segment::SEGMENT_HEADER as u64);
    flushed(&mut log);
    closed(log);
    assert_eq!(open(dir.path()).end().number, 12);
}

#[test]
fn without_a_descriptor_what_is_stored_is_read_and_damage_is_still_found() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, none_left) = without_descriptors();
    let mut log = open_on(&disk, dir.path());
    roll_until(&mut log, 6);
    let committed = log.progress().committed();
    closed(log);
    let log = open_on(&disk, dir.path());
    none_left.store(true, Ordering::Relaxed);
    assert_eq!(bodies(&log.reader()).len() as u64, committed);
    closed(log);
    none_left.store(false, Ordering::Relaxed);
    flip(&dir.path().join("log").join(names::segment(0)), 300);
    let log = open_on(&disk, dir.path());
    none_left.store(true, Ordering::Relaxed);
    assert!(matches!(log.reader().record(0), Err(ReadError::Damaged(_))));
    assert_eq!(log.reader().record(2).unwrap().body.len(), large().len());
}

/// A read that waits for the disk until the test lets it go on.
#[derive(Default)]
struct Gate {
    shut: parking_lot::Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn shut(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.opened.wait_while(&mut self.shut.lock(), |shut| *shut);
    }
}

#[test]
fn a_read_that_the_disk_takes_long_for_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, (reading, began)) = (Arc::new(Gate::default()), mpsc::channel());
    let (slow, wait) = (dir.path().join("log").join(names::segment(0)), gate.clone());
    let disk = HookedDisk::on_read(move |path, _| {
        if path == slow && *wait.shut.lock() {
            let _ = reading.send(());
            wait.pass();
        }
        Ok(())
    });
    let mut log = open_on(&disk, dir.path());
    roll_until(&mut log, 4);
    closed(log);
    let mut log = open_on(&disk, dir.path());
    gate.shut(true);
    let (by_index, by_number) = (log.reader(), log.reader());
    let waiting = [
        std::thread::spawn(move || by_index.record(0).unwrap().index),
        std::thread::spawn(move || by_number.entry_header(1).unwrap().unwrap().number),
    ];
    (0..2).for_each(|_| began.recv_timeout(HOUR).unwrap());
    let (done, went_on) = mpsc::channel();
    let busy = std::thread::spawn(move || {
        let segments = log.parts.segments.read().len();
        roll_until(&mut log, segments + 2);
        log.truncate(log.end().number - 1).unwrap();
        append(&mut log, &["instead"]);
        flushed(&mut log);
        let last = log.progress().committed() - 1;
        log.reader().record(last).unwrap();
        done.send(log).unwrap();
    });
    let others = went_on.recv_timeout(Duration::from_secs(30));
    gate.shut(false);
    assert!(others.is_ok(), "a roll, a commit, a flush, a truncation or another read waits for the disk");
    busy.join().unwrap();
    assert_eq!(waiting.map(|waiting| waiting.join().unwrap()), [0, 1]);
}

const MIB: u64 = 1 << 20;

/// A copy of a file without the pages that hold zeros only, as `cp` makes one.
fn copy_without_zeros(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let file = std::fs::File::create(to).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (page, at) in bytes.chunks(4096).zip((0..).step_by(4096)) {
        if page.iter().any(|byte| *byte != 0) {
            std::os::unix::fs::FileExt::write_all_at(&file, page, at).unwrap();
        }
    }
}

/// A log of one segment of 4 MiB with a record, copied so to `copy`.
fn copied(dir: &Path) -> (Identity, impl Fn() -> LogOptions + use<>) {
    let identity = Identity { segment_size: 4 * MIB, ..identity() };
    let options = || LogOptions { segment_size: 4 * MIB, ..options() };
    let mut log = Log::open(Arc::new(RealDisk), dir.join("original"), identity.clone(), options()).unwrap().0;
    append(&mut log, &["a"]);
    flushed(&mut log);
    closed(log);
    std::fs::create_dir(dir.join("copy")).unwrap();
    for file in std::fs::read_dir(dir.join("original")).unwrap() {
        let file = file.unwrap();
        copy_without_zeros(&file.path(), &dir.join("copy").join(file.file_name()));
    }
    (identity, options)
}

fn allocated(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join("copy").join(name)).unwrap().blocks() * 512
}

#[test]
fn a_copy_without_blocks_gets_them_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (identity, options) = copied(dir.path());
    let (segment, ballast) = (names::segment(0), names::BALLAST);
    assert!(allocated(dir.path(), &segment) < MIB, "the copy has all blocks: this tests nothing");
    let (mut log, _) = Log::open(Arc::new(RealDisk), dir.path().join("copy"), identity, options()).unwrap();
    assert!(allocated(dir.path(), &segment) >= 4 * MIB, "{}", allocated(dir.path(), &segment));
    assert!(allocated(dir.path(), ballast) >= 64 << 10, "{}", allocated(dir.path(), ballast));
    append(&mut log, &["b"]);
    flushed(&mut log);
    commit_all(&log);
    assert_eq!(bodies(&log.reader()), ["a", "b"]);
}

#[test]
fn a_copy_for_whose_blocks_there_is_no_room_takes_nothing_before_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (identity, options) = copied(dir.path());
    let full = Arc::new(AtomicBool::new(true));
    let flag = full.clone();
    let disk =
        HookedDisk::on_allocate(move |range| match flag.load(Ordering::Relaxed) && range.end - range.start > MIB {
            true => Err(rustix::io::Errno::NOSPC.into()),
            false => Ok(()),
        });
    let (mut log, _) = Log::open(Arc::new(disk), dir.path().join("copy"), identity, options()).unwrap();
    let capacity = log.capacity();
    let Admission::Full(why) = capacity.room_for(100, 0, 1000) else { panic!("there is room") };
    assert!(!why.process && why.why.contains("which is a copy without them"), "{why}");
    capacity.room_until(1, 500, false, 1000).unwrap_err();
    capacity.room_until(1, 500, true, 1000).unwrap();
    assert!(capacity.disk_full().is_some() && log.reader().failure().is_none());
    full.store(false, Ordering::Relaxed);
    assert_eq!(capacity.room_for(100, 0, 9000), Admission::Now);
    assert_eq!(capacity.disk_full(), None);
    append(&mut log, &["b"]);
    flushed(&mut log);
}
