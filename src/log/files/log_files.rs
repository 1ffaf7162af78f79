//! What every part of a log needs of its files: the disk, the directory, and the failure that ends all work on them.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ballast::Ballast;
use super::call_timer::CallTimer;
use super::directory::Directory;
use super::failure::Failure;
use crate::disk::{Disk, Space};
use crate::log::LogOptions;
use crate::segment::Segment;
use crate::types::{ClosedKind, Group};

/// The files of a log. The directory stays locked until the last handle is dropped or the log is closed.
pub(crate) struct LogFiles {
    disk: Arc<dyn Disk>,
    directory: Directory,
    options: LogOptions,
    failure: OnceLock<Failure>,
    /// Time the flush pass and the writer's call that are under way.
    syncing: CallTimer,
    writing: CallTimer,
}

impl LogFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: Directory, options: LogOptions) -> Self {
        let (syncing, writing) = (CallTimer::default(), CallTimer::default());
        Self { disk, directory, options, failure: OnceLock::new(), syncing, writing }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn options(&self) -> &LogOptions {
        &self.options
    }

    pub(crate) fn segment_size(&self) -> u64 {
        self.options.segment_size
    }

    /// The ledger that the log belongs to.
    pub(crate) fn group(&self) -> &Group {
        &self.directory.identity().group
    }

    pub(crate) fn ballast(&self) -> Ballast<'_> {
        Ballast::new(self.disk.as_ref(), &self.directory)
    }

    /// How full the log's file system is.
    pub(crate) fn space(&self) -> io::Result<Space> {
        self.disk.space(self.directory.path())
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Marks the log as closed. An earlier failure stays the reason.
    pub(crate) fn end(&self) {
        let _ = self.failure.set(Failure::Ended);
    }

    /// Stops the log for a reason other than a failed system call.
    pub(crate) fn fail(&self, kind: ClosedKind, reason: String) {
        self.failure.get_or_init(|| {
            tracing::error!(group = %self.group(), %reason, "the log stops");
            Failure::Failed { kind, reason }
        });
    }

    /// Refuses to go on after a failure.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.failure() {
            Some(failure) => Err(io::Error::other(failure.reason().to_owned())),
            None => Ok(()),
        }
    }

    /// Stops the log if `result` is an error, and keeps the first failure for ever: after a failed call nobody knows
    /// what the disk holds.
    pub(crate) fn or_fail<T>(&self, doing: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let reason = format!("{doing} in {}: {error}", self.directory.path().display());
            let first = self.failure.get_or_init(|| Failure::of(&error, reason)).reason();
            tracing::error!(group = %self.group(), reason = %first, "the log stops");
            io::Error::new(error.kind(), first.to_owned())
        })
    }

    /// Does `work` of a flush pass, of which there is one at a time.
    pub(crate) fn syncing<T>(&self, work: impl FnOnce() -> T) -> T {
        self.syncing.during(work)
    }

    /// Does `work` of the writer, of which there is one.
    pub(crate) fn writing<T>(&self, work: impl FnOnce() -> T) -> T {
        self.writing.during(work)
    }

    /// Which call has been under way for `stall` or longer because the disk hangs, in words; and for how long.
    pub(crate) fn hangs(&self, stall: Duration) -> Option<(Duration, String)> {
        let under_way = [(self.syncing.under_way(), "sync"), (self.writing.under_way(), "write")];
        let stuck = under_way.into_iter().filter_map(|(since, what)| Some((since?, what)));
        let (since, what) = stuck.max().filter(|(since, _)| *since >= stall)?;
        Some((since, format!("a {what} has not ended for {} s", since.as_secs())))
    }

    /// Runs `job` on the thread for slow file work. The job holds these files, and so the lock of the directory: a
    /// process that finds the directory free finds the job done.
    pub(crate) fn in_background(self: &Arc<Self>, job: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let files = self.clone();
        self.options.background.run(Box::new(move || job(&files)));
    }

    /// Has the index of a sealed segment written. The index is a cache, without which the next start scans the segment,
    /// so nothing of it is synced: if a sync of the directory failed here, with only a warning, no later sync would
    /// report it.
    pub(crate) fn write_index(self: &Arc<Self>, sealed: Arc<Segment>) {
        self.in_background(move |files| {
            let index = files.directory.index(sealed.position());
            if let Err(error) = files.disk.write_cache(&index, &sealed.encode_index()) {
                tracing::warn!(file = %index.display(), %error, "cannot write the index of a segment");
            }
        });
    }

    /// Removes the file of a segment that is cut off. Readers who hold the segment still read its entries.
    pub(crate) fn remove_segment(&self, segment: &Segment) -> io::Result<()> {
        segment.spoil()?;
        self.disk.remove(segment.path())?;
        remove_if_there(self.disk.as_ref(), &self.directory.index(segment.position()))
    }
}

pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
