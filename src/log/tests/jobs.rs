//! File work that is still to be done when a log is dropped.

use parking_lot::Mutex;

use super::*;
use crate::log::directory::is_free;

/// Keeps jobs until it is told to do them.
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

/// Whoever takes the lock would see files change under it.
#[test]
fn nobody_finds_the_directory_free_while_an_index_is_to_be_written() {
    let (dir, jobs) = (tempfile::tempdir().unwrap(), Arc::new(Queued::default()));
    let (path, options) =
        (dir.path().join("log"), LogOptions { scheduler: Arc::new(ByHand), background: jobs.clone(), ..options() });
    let mut log = Log::open(Arc::new(RealDisk), path.clone(), identity(), options).unwrap().0;
    while log.parts.segments.read().len() < 2 {
        // The spare, which holds the log too.
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
