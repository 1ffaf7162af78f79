//! The end of a repair: the verified new files replace the damaged ones.

use super::rebuild::Finished;
use super::{Repair, differs};
use crate::error::RepairError;
use crate::format::segment::Cursor;
use crate::log::directory::io_error;
use crate::log::files::log_files::remove_if_there;
use crate::log::names;
use crate::log::offline_access;
use crate::log::unsynced_names::remove_segment;
use crate::types::RepairReport;

impl Repair {
    /// Replaces the damaged files by the new ones, or with `dry_run` throws the new ones away.
    ///
    /// # Errors
    /// If the repair is not done yet, or the system fails. A crash leaves the directory either damaged as before or
    /// good.
    pub(crate) fn finish(mut self, dry_run: bool) -> Result<RepairReport, RepairError> {
        let Some(end) = self.work.done else {
            return differs("the repair", "not done", "done");
        };
        let mut report = RepairReport { end: end.index, end_position: end.position, ..RepairReport::default() };
        report.ranges = self.work.finished.iter().flat_map(|finished| finished.ranges.clone()).collect();
        report.removed = std::mem::take(&mut self.work.removed);
        if !dry_run {
            self.install(end, &report.removed)?;
            report.done = true;
        }
        Ok(report)
    }

    fn install(&mut self, end: Cursor, removed: &[std::path::PathBuf]) -> Result<(), RepairError> {
        let disk = self.disk.as_ref();
        // The good files that stay are synced too: the operator may have copied the directory here just now.
        offline_access::sync_all(disk, self.directory.path())?;
        // The index of a replaced segment describes the old file.
        for finished in &self.work.finished {
            let index = self.directory.index(finished.header.start.position);
            remove_if_there(disk, &index).map_err(io_error("remove", &index))?;
        }
        for Finished { new, header, .. } in self.work.finished.drain(..) {
            new.install().map_err(io_error("replace", &self.directory.segment(header.start.position)))?;
        }
        for file in removed.iter().rev() {
            remove_segment(disk, file).map_err(io_error("remove", file))?;
        }
        let dir = self.directory.path();
        disk.sync_dir(dir).map_err(io_error("sync directory", dir))?;
        // The note is corrected last: after a crash before this, a start misses the noted entries and refuses.
        let durable = self.noted.durable;
        let correct = match () {
            () if durable.number > end.number.max(self.base.number) => Some(end.point()),
            () if self.work.superseded => Some(self.committed()),
            () => None,
        };
        if let Some(durable) = correct {
            let file = self.directory.file(names::HARD_STATE);
            self.hard_state.correct(durable).map_err(io_error("write", &file))?;
        }
        Ok(())
    }
}
