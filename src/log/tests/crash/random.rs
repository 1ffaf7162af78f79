//! Random histories of a log, held against the model.

use std::io::ErrorKind;
use std::time::Duration;

use super::driver::{Driver, End, Mode, SIZE, Step};
use super::model::Promise;
use super::points::Points;
use super::{NOTHING, check, images};
use crate::disk::sim::{Op, Rng, SimDisk};
use crate::format::segment::{Cursor, SEGMENT_HEADER};

#[test]
fn no_history_of_faults_breaks_a_promise() {
    Points::each("random histories", 150, |seed| {
        let mut rng = Rng::new(seed);
        let interval = rng.chance(400).then_some(Duration::from_millis(100));
        let mode = Mode { interval, at_once: rng.chance(500) };
        let (mut disk, mut promise, mut points) = (SimDisk::new(), Promise::of_nothing(), 0);
        for _ in 0..4 {
            prepare(&disk, &mut rng);
            let (ended, left) = live(&disk, &promise, mode, &mut rng);
            (disk, promise) = left;
            for image in images(&disk, rng.below(4), &mut rng) {
                check(&image, &promise, mode);
                points += 1;
            }
            let Some(next) = next_life(&disk, &promise, ended, mode, &mut rng) else { break };
            disk = next;
            points += 1;
        }
        points
    });
}

/// Decides which faults the next life meets.
fn prepare(disk: &SimDisk, rng: &mut Rng) {
    let kind = if rng.chance(500) { ErrorKind::Other } else { ErrorKind::StorageFull };
    match rng.below(8) {
        0..3 => disk.lose_power_after(rng.below(100)),
        3 => disk.fail_any(rng.below(120), kind, rng.below(1000)),
        4 => disk.fail_nth(Op::Sync, rng.below(20), kind),
        5 => disk.short_write([Op::Write, Op::WriteAtomic][rng.below(2) as usize], rng.below(8), kind, rng.below(1000)),
        6 => disk.fail_nth(Op::SyncDir, rng.below(20), kind),
        _ => {}
    }
}

/// One life. Returns how it ended, and what it left.
fn live(disk: &SimDisk, promise: &Promise, mode: Mode, rng: &mut Rng) -> (Option<End>, (SimDisk, Promise)) {
    let mut log = match Driver::open(disk, promise, mode) {
        Ok(log) => log,
        Err(end) => return (Some(end), (disk.clone(), promise.clone())),
    };
    let steps = rng.below(60);
    let ended = (0..steps).try_for_each(|_| step(&mut log, rng)).err();
    (ended, log.end())
}

fn step(log: &mut Driver, rng: &mut Rng) -> Step {
    let written = log.written();
    let (first, committed) = (log.promise.first, log.promise.committed);
    match rng.below(100) {
        0..5 => log.truncate(up_to(committed, written, rng)),
        5..14 => log.commit(up_to(committed, written, rng)),
        14..17 if written > first => log.purge(written - up_to(0, written - first - 1, rng)),
        17 => {
            let next = anew(log.written_to(), rng);
            log.reset(next)
        }
        18..25 => log.vote(rng.chance(300)),
        25..34 => log.work(),
        34 => log.reopen(),
        35..45 => log.write_back(rng),
        45..58 => log.flush(),
        58..72 => log.on_durable(),
        72 => log.roll_frame(up_to(committed, written, rng)),
        73 | 85 => log.roll(),
        74..82 => log.append_frame(records(rng), up_to(committed, written, rng)),
        82..85 => (0..rng.below(5)).try_for_each(|_| log.append(records(rng))).and_then(|()| log.on_durable()),
        _ => log.append(records(rng)),
    }
}

/// From `low` to `high`, more often near `high`.
fn up_to(low: u64, high: u64, rng: &mut Rng) -> u64 {
    let span = high - low + 1;
    high - rng.below(span).min(rng.below(span))
}

/// A batch of a few records of any length, some of them empty; now and then an entry without.
fn records(rng: &mut Rng) -> Vec<String> {
    let count = [0, 1, 1, 1, 1, 2, 5][rng.below(7) as usize];
    let longest = [20, 400, 3000][rng.below(3) as usize] / count.max(1);
    let record = |rng: &mut Rng| {
        let length = rng.below(longest + 1) as usize;
        let text = format!("{:016x}", rng.draw()).repeat(length / 16 + 1);
        text[..length].to_owned()
    };
    (0..count).map(|_| record(rng)).collect()
}

/// Where a leader that is far ahead of `end` has the log begin.
fn anew(end: Cursor, rng: &mut Rng) -> Cursor {
    let ahead = 1 + rng.below(5);
    let segment = (end.position / SIZE + rng.below(3)) * SIZE;
    let offset = SEGMENT_HEADER as u64 + [0, 16 + rng.below(800) * 8][rng.below(2) as usize];
    let position = if segment + offset > end.position { segment + offset } else { segment + SIZE + offset };
    let (number, index) = (end.number + ahead, end.index + ahead);
    Cursor { position, number, index, term: end.term + 1, timestamp: end.timestamp, chain: rng.draw() as u32 }
}

/// The next life: after a power loss, or the death of the process. `None` if there is none.
fn next_life(disk: &SimDisk, promise: &Promise, ended: Option<End>, mode: Mode, rng: &mut Rng) -> Option<SimDisk> {
    // What a failed sync has left in the page cache is seen by the next process only if the power stays.
    let stays = if ended == Some(End::Failure) { 5 } else { 0 };
    match rng.below(10 - stays) + stays {
        0..4 => Some(disk.crash(rng).unwrap()),
        4 => Some(disk.image(NOTHING)),
        5..8 => Some(disk.kill().unwrap()),
        _ => {
            let mut promise = promise.clone();
            if ended.is_none() {
                // The page cache outlives the process.
                promise.synced();
            }
            check(&disk.kill().unwrap(), &promise, mode);
            None
        }
    }
}
