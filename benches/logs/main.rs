//! The local log beside other embedded logs, in one run on one machine: `just bench`.
//!
//! | file | what it is |
//! |---|---|
//! | this | the order of things, and their size |
//! | `peers` | the logs, behind one trait; what the sync of each means |
//! | `append` | records of 128 B and 1 KiB, 1, 64 and 1024 in a call, without and with sync |
//! | `read` | random gets and scans, on one and two threads, warm |
//! | `cold` | the same with nothing in the page cache |
//! | `reopen` | a process is killed while it appends; how long opening takes then |
//! | `table` | the figures side by side |
//!
//! `--quick`, or a run that `cargo bench` did not start, does all of it with little data: the figures say nothing then.
//! Any other argument is a part of the names that are to be measured: `append_1024x64_synced/dledger`,
//! `get_1_threads/okaywal`, `cold/raft-engine`, `reopen/mrecordlog`.

mod append;
mod cold;
mod peers;
mod read;
mod reopen;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;
use peers::Peer;
use table::Tables;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Bytes after which a log that is appended to is thrown away for a fresh one.
    append: u64,
    /// Bytes of the log that is read.
    read: u64,
    /// Records of one measured scan.
    scan: u64,
    /// Gets of a thread while the log is cold.
    cold_gets: u64,
    /// Bytes of the log that is opened again.
    reopen: u64,
    /// Runs of what is not criterion's.
    runs: usize,
    warm_up: Duration,
    measurement: Duration,
}

const FULL: Scale = Scale {
    append: 1 << 30,
    read: 1 << 30,
    scan: 1 << 16,
    cold_gets: 2000,
    reopen: 1_200_000_000,
    runs: 5,
    warm_up: Duration::from_millis(300),
    measurement: Duration::from_secs(1),
};

const QUICK: Scale = Scale {
    append: 16 << 20,
    read: 16 << 20,
    scan: 1 << 12,
    cold_gets: 100,
    reopen: 32 << 20,
    runs: 1,
    warm_up: Duration::from_millis(10),
    measurement: Duration::from_millis(50),
};

/// Bytes of a record in everything but `append`.
const RECORD: usize = 1024;

fn main() {
    if reopen::is_child() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|a| a == "--quick") || !arguments.iter().any(|a| a == "--bench");
    let filter = arguments.iter().find(|a| !a.starts_with("--")).cloned();
    let scale = if quick { QUICK } else { FULL };

    let work = Work::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("logs"), 4 * scale.reopen.max(scale.append));
    touch_memory(work.path(), 2 * scale.append);
    let mut criterion = Criterion::default()
        .output_directory(&work.path().join("criterion"))
        .without_plots()
        .sample_size(10)
        .nresamples(2000)
        .warm_up_time(scale.warm_up)
        .measurement_time(scale.measurement);
    if let Some(filter) = &filter {
        criterion = criterion.with_filter(filter);
    }
    let wanted = |what: &str, peer: &Peer| {
        let name = format!("{what}/{}", peer.name);
        filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    };

    let mut tables = Tables::new(work.path().join("criterion"));
    append::run(&mut criterion, &mut tables, scale, work.path());
    tables.print();
    read::run(&mut criterion, &mut tables, scale, work.path(), wanted);
    tables.print();
    reopen::run(&mut tables, scale, work.path(), wanted);
    tables.print();
    println!("\n*: promises less than the others of its row (see `benches/logs/peers`), and is left out of the ratio,");
    println!("which is that of dledger to the best of the others: above 1, dledger is better.");
    if quick {
        println!("\nWith so little data the figures say nothing: it was looked at whether all of it runs.");
    }
}

/// A directory that is not there before and after, on the disk of the target directory.
struct Work(PathBuf);

impl Work {
    fn new(path: PathBuf, needed: u64) -> Self {
        remove(&path);
        std::fs::create_dir_all(&path).expect("the target directory can be written to");
        let disk = rustix::fs::statvfs(&path).expect("the disk can be asked");
        let free = disk.f_bavail * disk.f_frsize;
        assert!(free > needed, "{} has {free} bytes free; {needed} are needed", path.display());
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a directory that may not be there.
fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => {}
    }
}

/// Has the page cache take and give back as much memory as will be used: what a virtual machine touches for the first
/// time is slow, and the first log would pay for all.
fn touch_memory(dir: &Path, bytes: u64) {
    use std::io::Write;
    let (path, chunk) = (dir.join("memory"), vec![1; 1 << 20]);
    let mut file = std::fs::File::create(&path).expect("the disk works");
    for _ in 0..bytes >> 20 {
        file.write_all(&chunk).expect("the disk has room");
    }
    std::fs::remove_file(&path).expect("the disk works");
}
