//! Appending: one writer, one call after the other, to a log whose first quarter has been written: a first segment is
//! not the usual one. The bare file beside them is what the disk and the system allow: the bytes of the records alone,
//! written in one piece and synced, into a file that has been written before.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use crate::peers::{Log, PEERS, Peer, Survives, Use};
use crate::table::{Tables, Unit};
use crate::{Scale, remove};

pub fn run(criterion: &mut Criterion, tables: &mut Tables, scale: Scale, dir: &Path) {
    for sync in [false, true] {
        let (name, title) = if sync { ("synced", "append, synced") } else { ("unsynced", "append, not synced") };
        let table = tables.begin(title, Unit::PerSecond);
        for size in [128, 1024] {
            for batch in [1, 64, 1024] {
                let group_name = format!("append_{size}x{batch}_{name}");
                let mut group = criterion.benchmark_group(&group_name);
                group.throughput(Throughput::Elements(batch as u64)).sampling_mode(SamplingMode::Flat);
                let row = tables.row(table, &format!("{size} B × {batch}"));
                let records = records(size, batch);
                let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                for peer in PEERS {
                    let Some(survives) = (if sync { Some(peer.synced) } else { peer.unsynced }) else { continue };
                    let mut series = Series::new(peer, sync, scale.append, dir.join("append"));
                    group.bench_function(peer.name, |b| b.iter_custom(|calls| series.run(calls, &records)));
                    series.end();
                    let weaker = survives != if sync { Survives::Power } else { Survives::Kill };
                    tables.measured(row, peer.name, &group_name, batch as f64, weaker);
                }
                let mut bare = BareFile::new(dir.join("bare"), scale.append, sync);
                group.bench_function(BARE, |b| b.iter_custom(|calls| bare.run(calls, &records)));
                tables.measured(row, BARE, &group_name, batch as f64, true);
            }
        }
    }
}

/// Random records, the same in every run.
pub fn records(size: usize, count: usize) -> Vec<Vec<u8>> {
    let mut random = crate::read::Random::new(size as u64);
    let mut record = || (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(size).collect();
    (0..count).map(|_| record()).collect()
}

/// Appends to a log, and to a fresh one when it has become too large; making and removing logs is not timed.
struct Series<'a> {
    peer: &'a Peer,
    sync: bool,
    capacity: u64,
    dir: PathBuf,
    log: Option<(Box<dyn Log>, u64)>,
}

impl<'a> Series<'a> {
    fn new(peer: &'a Peer, sync: bool, capacity: u64, dir: PathBuf) -> Self {
        Self { peer, sync, capacity, dir, log: None }
    }

    /// Time of that number of calls.
    fn run(&mut self, calls: u64, records: &[&[u8]]) -> Duration {
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        let (mut left, mut spent) = (calls, Duration::ZERO);
        while left > 0 {
            if self.log.as_ref().is_none_or(|(_, written)| written + bytes > self.capacity) {
                self.end();
                let how = Use { sync: self.sync, bytes: self.capacity };
                self.log = Some(begun((self.peer.open)(&self.dir, how), self.capacity / 4));
            }
            let (log, written) = self.log.as_mut().expect("it was just made");
            let now = left.min((self.capacity - *written) / bytes);
            let start = Instant::now();
            for _ in 0..now {
                log.append(records);
            }
            spent += start.elapsed();
            *written += now * bytes;
            left -= now;
        }
        spent
    }

    fn end(&mut self) {
        if let Some((log, _)) = self.log.take() {
            log.discard(&self.dir);
        }
        remove(&self.dir);
    }
}

/// A log to which `bytes` have been appended, and how many they really are.
fn begun(mut log: Box<dyn Log>, bytes: u64) -> (Box<dyn Log>, u64) {
    let records = records(1024, 1024);
    let call: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let calls = bytes >> 20;
    for _ in 0..calls {
        log.append(&call);
    }
    (log, calls << 20)
}

/// What the bare file is called in the tables.
pub const BARE: &str = "bare file";

/// No log: bytes written one after the other.
struct BareFile {
    path: PathBuf,
    size: u64,
    sync: bool,
    file: Option<(File, u64)>,
}

impl BareFile {
    fn new(path: PathBuf, size: u64, sync: bool) -> Self {
        Self { path, size, sync, file: None }
    }

    /// Time of that number of calls.
    fn run(&mut self, calls: u64, records: &[&[u8]]) -> Duration {
        let bytes = records.concat();
        let mut spent = Duration::ZERO;
        for _ in 0..calls {
            if self.file.as_ref().is_none_or(|(_, end)| end + bytes.len() as u64 > self.size) {
                self.file = Some((zeros(&self.path, self.size), 0));
            }
            let (file, end) = self.file.as_mut().expect("it was just made");
            let start = Instant::now();
            file.write_all_at(&bytes, *end).expect("the disk works");
            if self.sync {
                file.sync_data().expect("the disk works");
            }
            spent += start.elapsed();
            *end += bytes.len() as u64;
        }
        spent
    }
}

impl Drop for BareFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            std::fs::remove_file(&self.path).expect("it is there");
        }
    }
}

/// A file of zeros that are on the disk.
fn zeros(path: &Path, size: u64) -> File {
    let mut file = File::options().create(true).truncate(true).write(true).open(path).expect("the disk works");
    // In pieces as those of a segment: the page cache keeps them so.
    for _ in 0..size >> 16 {
        file.write_all(&[0; 1 << 16]).expect("the disk has room");
    }
    file.sync_all().expect("the disk works");
    file
}
