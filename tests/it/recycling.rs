//! Is it faster to overwrite a removed segment with zeros than to make a new file of them? Run on an idle machine:
//! `cargo test --release --test it recycling -- --ignored --nocapture`, with `DLEDGER_DIR` on the disk to be measured.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const SIZE: u64 = 64 << 20;
const CHUNK: usize = 1 << 20;
const APPEND: usize = 64 << 10;
const ROUNDS: usize = 7;

fn allocated(path: &Path) -> File {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE).unwrap();
    file
}

fn fill(file: &File, byte: u8) {
    let chunk = vec![byte; CHUNK];
    (0..SIZE).step_by(CHUNK).for_each(|offset| file.write_all_at(&chunk, offset).unwrap());
    file.sync_data().unwrap();
}

/// Appends of 64 KiB, each synced; the median.
fn appends(file: &File) -> Duration {
    let bytes = vec![2; APPEND];
    let one = |offset| {
        let began = Instant::now();
        file.write_all_at(&bytes, offset).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    median((0..SIZE).step_by(APPEND).take(400).map(one).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (what(), began.elapsed())
}

#[test]
#[ignore = "a measurement, not a law"]
fn a_fresh_spare_against_a_recycled_one() {
    let parent = std::env::var_os("DLEDGER_DIR").unwrap_or_else(|| std::env::temp_dir().into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    let mut made: [Vec<Duration>; 2] = Default::default();
    let mut synced: [Vec<Duration>; 3] = Default::default();
    for round in 0..ROUNDS {
        let path = dir.path().join(format!("{round}"));
        let (fresh, took) = timed(|| {
            let file = allocated(&path);
            fill(&file, 0);
            file
        });
        made[0].push(took);
        synced[0].push(appends(&fresh));
        fill(&fresh, 7);
        // As old as a removed segment is: not in the page cache any more.
        rustix::fs::fadvise(&fresh, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        drop(fresh);
        let (recycled, took) = timed(|| {
            let spare = dir.path().join("spare");
            std::fs::rename(&path, &spare).unwrap();
            let file = File::options().read(true).write(true).open(&spare).unwrap();
            fill(&file, 0);
            file
        });
        made[1].push(took);
        synced[1].push(appends(&recycled));
        drop(recycled);
        std::fs::remove_file(dir.path().join("spare")).unwrap();
        // The first segment of a log: allocated, never written.
        let unwritten = allocated(&path);
        unwritten.sync_all().unwrap();
        synced[2].push(appends(&unwritten));
        drop(unwritten);
        std::fs::remove_file(&path).unwrap();
    }
    let [fresh, recycled] = made.map(median);
    let [after_fresh, after_recycled, after_unwritten] = synced.map(median);
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    println!(
        "a spare of {} MiB: fresh {fresh:.1?}, recycled {recycled:.1?}, {:.2}",
        SIZE >> 20,
        ratio(recycled, fresh)
    );
    println!("64 KiB and fdatasync: after fresh {after_fresh:.0?}, after recycled {after_recycled:.0?}");
    println!("64 KiB and fdatasync: unwritten {after_unwritten:.0?}, {:.2}", ratio(after_unwritten, after_fresh));
}
