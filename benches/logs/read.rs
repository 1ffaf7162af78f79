//! Reading: random gets and scans.

use std::ops::Range;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use crate::append::records;
use crate::peers::{PEERS, Peer, Reader, Use};
use crate::table::{Row, Tables, Unit};
use crate::{RECORD, Scale, cold, remove};

/// Records of a call when the log is made.
const BATCH: usize = 64;

/// `wanted` says whether what is so called is to be measured.
pub fn run(
    criterion: &mut Criterion,
    tables: &mut Tables,
    scale: Scale,
    dir: &Path,
    wanted: impl Fn(&str, &Peer) -> bool,
) {
    let table = tables.begin("read, 1 KiB, warm", Unit::PerSecond);
    let warm = Case::all().map(|case| (case, tables.row(table, &case.title())));
    let table = tables.begin("read, 1 KiB, cold", Unit::PerSecond);
    let cold_rows = Case::all().map(|case| (case, tables.row(table, &case.title())));
    let dir = dir.join("read");
    for peer in PEERS {
        let warm = warm.iter().filter(|(case, _)| wanted(&case.name(), peer)).collect::<Vec<_>>();
        let cold = peer.reads_files && wanted("cold", peer);
        if warm.is_empty() && !cold {
            continue;
        }
        let mut log = make(peer, scale, &dir);
        for (case, row) in warm {
            measure(criterion, tables, scale, peer, log.as_ref(), *case, *row);
        }
        for (case, row) in cold_rows.iter().filter(|_| cold) {
            tables.put(*row, peer.name, cold::rate(log.as_mut(), *case, scale, &dir), false);
        }
        drop(log);
        remove(&dir);
    }
}

/// What is read.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub scan: bool,
    pub threads: u64,
}

impl Case {
    fn all() -> [Self; 4] {
        [(false, 1), (false, 2), (true, 1), (true, 2)].map(|(scan, threads)| Self { scan, threads })
    }

    fn name(self) -> String {
        format!("{}_{}_threads", if self.scan { "scan" } else { "get" }, self.threads)
    }

    fn title(self) -> String {
        let what = if self.scan { "scan" } else { "random get" };
        format!("{what}, {} thread{}", self.threads, if self.threads == 1 { "" } else { "s" })
    }
}

/// A log of random records, each entry of 64.
fn make(peer: &Peer, scale: Scale, dir: &Path) -> Box<dyn Reader> {
    let mut log = (peer.open)(dir, Use { sync: false, bytes: scale.read });
    let records = records(RECORD, 4 * BATCH);
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let calls = scale.read / (BATCH * RECORD) as u64;
    for (_, batch) in (0..calls).zip(records.chunks(BATCH).cycle()) {
        log.append(batch);
    }
    let count = log.records();
    assert_eq!(count, scale.read / RECORD as u64, "{} lost records", peer.name);
    log.into_reader()
}

fn measure(
    criterion: &mut Criterion,
    tables: &mut Tables,
    scale: Scale,
    peer: &Peer,
    log: &dyn Reader,
    case: Case,
    row: Row,
) {
    let count = scale.read / RECORD as u64;
    let name = case.name();
    let mut group = criterion.benchmark_group(&name);
    let per_iteration = case.threads * if case.scan { scale.scan } else { 1 };
    group.throughput(Throughput::Elements(per_iteration)).sampling_mode(SamplingMode::Flat);
    let mut random = Random::new(7);
    // Once through, so that all of it is warm. The closure below is called many times.
    assert_eq!(log.scan(0..count), count);
    group.bench_function(peer.name, |b| {
        b.iter_custom(|iterations| {
            let seed = random.next();
            on_threads(case.threads, |thread| match case.scan {
                true => scan(log, windows(thread, case.threads, count, scale.scan), iterations),
                false => get(log, count, iterations, seed ^ thread),
            })
        });
    });
    tables.measured(row, peer.name, &name, per_iteration as f64, false);
}

/// The part of the log that one of several threads scans, and the length of a step.
fn windows(thread: u64, threads: u64, count: u64, window: u64) -> (Range<u64>, u64) {
    let part = count / threads;
    (thread * part..(thread + 1) * part, window.min(part))
}

fn scan(log: &dyn Reader, (part, window): (Range<u64>, u64), steps: u64) {
    let mut at = part.start;
    for _ in 0..steps {
        if at + window > part.end {
            at = part.start;
        }
        assert_eq!(log.scan(at..at + window), window);
        at += window;
    }
}

/// `gets` random gets out of `count` records.
pub fn get(log: &dyn Reader, count: u64, gets: u64, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..gets {
        log.get(random.below(count));
    }
}

/// From when all threads begin to when all have ended.
pub fn on_threads(threads: u64, work: impl Fn(u64) + Sync) -> Duration {
    if threads == 1 {
        let start = Instant::now();
        work(0);
        return start.elapsed();
    }
    let ready = Barrier::new(usize::try_from(threads).expect("a few threads"));
    std::thread::scope(|scope| {
        let (ready, work) = (&ready, &work);
        let timed = |thread| {
            move || {
                ready.wait();
                let start = Instant::now();
                work(thread);
                (start, Instant::now())
            }
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(timed(thread))).collect();
        let times: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("the reads succeed")).collect();
        let start = times.iter().map(|(start, _)| *start).min();
        let end = times.iter().map(|(_, end)| *end).max();
        end.zip(start).map_or(Duration::ZERO, |(end, start)| end - start)
    })
}

/// Random numbers that cost next to nothing (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
