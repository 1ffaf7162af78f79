//! The end of a repair: what was proven takes the place of what was there.

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
    /// Puts the new files in their places, or with `dry_run` throws them away.
    ///
    /// # Errors
    /// If it is not done yet, or the system fails. After a crash the directory is damaged as before, or good.
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
        // Of what was good here and is kept too: it may be a copy.
        offline_access::sync_all(disk, self.directory.path())?;
        // A cache of what is not there any more.
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
        // Last: until then a start finds that what was noted is not there, and refuses.
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
