//! Reading what is not in the page cache: `posix_fadvise(DONTNEED)` has the system drop all pages of the log's files
//! before each run. The disk, and on a virtual machine its host's cache, then decides more than the log.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::peers::Reader;
use crate::read::{Case, get, on_threads};
use crate::{RECORD, Scale};

/// Share of the log that a cold scan reads.
const SCANNED: u64 = 4;

/// Records a second, the median of some runs.
pub fn rate(log: &mut dyn Reader, case: Case, scale: Scale, dir: &Path) -> f64 {
    let count = scale.read / RECORD as u64;
    let part = count / SCANNED / case.threads;
    let mut rates: Vec<f64> = (0..scale.runs as u64)
        .map(|run| {
            log.let_go();
            drop_cache(dir);
            let log = &*log;
            let spent = on_threads(case.threads, |thread| match case.scan {
                true => assert_eq!(log.scan(thread * part..(thread + 1) * part), part),
                false => get(log, count, scale.cold_gets, run * case.threads + thread),
            });
            let records = case.threads * if case.scan { part } else { scale.cold_gets };
            records as f64 / spent.as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// What is dirty stays in the cache, so it is written first.
fn drop_cache(dir: &Path) {
    for file in std::fs::read_dir(dir).expect("the directory is there").flatten() {
        if file.file_type().is_ok_and(|kind| kind.is_file()) {
            let file = File::open(file.path()).expect("the file can be read");
            file.sync_all().expect("the disk works");
            fadvise(&file, 0, None, Advice::DontNeed).expect("the system takes the advice");
        }
    }
}
