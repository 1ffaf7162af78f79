//! File work that is still queued when a log is dropped.

use parking_lot::Mutex;

use super::*;
use crate::log::directory::is_free;

/// Keeps jobs until the test has them done.
#[derive(Default)]
struct Queued(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Background for Queued {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.lock().push(job);
    }
}

impl Queued {
    fn work(&self) {
        let jobs = std::mem::take(&mut *self.0.lock());
        jobs.into_iter().for_each(|job| job());
    }
}

/// Else the next process to take the lock would see files change under it.
#[test]
fn nobody_finds_the_directory_free_while_an_index_is_to_be_written() {
    let (dir, jobs) = (tempfile::tempdir().unwrap(), Arc::new(Queued::default()));
    let (path, options) =
        (dir.path().join("log"), LogOptions { scheduler: Arc::new(ByHand), background: jobs.clone(), ..options() });
    let mut log = Log::open(Arc::new(RealDisk), path.clone(), identity(), options).unwrap().0;
    while log.parts.segments.read().len() < 2 {
        // The job that makes the spare holds the log's files too.
        jobs.work();
        append(&mut log, &[&"x".repeat(1000)]);
    }
    drop(log);
    let locked = is_free(&RealDisk, &path).unwrap_err();
    assert!(matches!(locked, OpenError::Locked { .. }), "{locked}");
    jobs.work();
    is_free(&RealDisk, &path).unwrap();
    assert!(path.join(names::index(0)).exists(), "the test must have had an index to write");
}
