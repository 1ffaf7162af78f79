//! What the tools in `offline` need of the directory of a stopped node. Only [`take_back`] changes a byte.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, OpenError};
use crate::format::hard_state::{Noted, Slots};
use crate::format::segment::Cursor;
use crate::log::directory::{self, Directory, io_error};
use crate::log::hard_state::{self, HardStateFile};
use crate::log::names::{self, FileKind};
use crate::log::open::{Examined, damage, examine};
use crate::log::recovery::{Decision, EndCase, Known, decide};
use crate::log::start_file::StartPoint;

/// Keeps a node from starting in `dir` until the value is dropped.
///
/// # Errors
/// If a node runs there, or the system fails.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    directory::take_lock(disk, dir)
}

/// The directory `dir`, with the identity that it has.
///
/// # Errors
/// If the identity is missing or damaged, or the system fails.
pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<Directory, OpenError> {
    match directory::read_identity(disk, dir)? {
        Some(identity) => Ok(Directory::of(dir.to_owned(), identity)),
        None => {
            let why = format!("the directory has no {} file", names::IDENTITY);
            Err(OpenError::Unexpected { path: dir.to_owned(), why })
        }
    }
}

/// Where the log begins.
///
/// # Errors
/// If the file is damaged or of another version.
pub(crate) fn start_point(disk: &dyn Disk, directory: &Directory) -> Result<StartPoint, OpenError> {
    StartPoint::read(disk, directory)
}

/// What a start would find and do.
pub(crate) struct StartVerdict {
    pub(crate) case: EndCase,
    pub(crate) known: Known,
    pub(crate) decision: Decision,
    /// Where a start would end the log.
    pub(crate) end: Cursor,
    /// What a start would report if it refused.
    pub(crate) damage: Damage,
}

/// What a start would do with the directory.
///
/// # Errors
/// If a start would refuse before it comes to the table of the segments.
pub(crate) fn start_verdict(disk: &Arc<dyn Disk>, directory: &Directory) -> Result<StartVerdict, OpenError> {
    let Examined { base, hard_state, walk, known, .. } = examine(disk, directory)?;
    let case = walk.ended.case;
    let damage = damage(&walk, base, hard_state.noted(), known);
    Ok(StartVerdict { case, known, decision: decide(case, known), end: walk.end(base), damage })
}

/// Makes every file in `dir` durable. Nothing of a copy that was just made may be on the disk yet, and neither a start
/// nor a tool syncs again what is noted as synced: that note is about the original's disk.
///
/// # Errors
/// If the system fails.
pub(crate) fn sync_all(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    for name in disk.list(dir).map_err(io_error("list", dir))? {
        let counts = match names::kind(&name) {
            Some(FileKind::Segment(_) | FileKind::Index(_)) => true,
            Some(FileKind::Fixed) => !matches!(name.as_str(), names::LOCK | names::SPARE | names::BALLAST),
            Some(FileKind::Temporary | FileKind::Renaming) | None => false,
        };
        if counts {
            let path = dir.join(name);
            let file = disk.open(&path).map_err(io_error("open", &path))?;
            file.sync().map_err(io_error("sync", &path))?;
        }
    }
    disk.sync_dir(dir).map_err(io_error("sync directory", dir))?;
    // `create_dir` on an existing directory makes the directory's own name durable.
    disk.create_dir(dir).map_err(io_error("sync directory above", dir))
}

/// The slots of a hard-state file.
///
/// # Errors
/// If the system fails a read for a reason other than a bad sector.
pub(crate) fn slots(file: &dyn DiskFile) -> io::Result<Slots> {
    hard_state::slots(file)
}

/// The note of how far the log is committed and durable.
///
/// # Errors
/// If the note or a vote is lost.
pub(crate) fn noted(disk: &dyn Disk, directory: &Directory) -> Result<Noted, OpenError> {
    Ok(HardStateFile::inspect(disk, &directory.file(names::HARD_STATE), false)?.noted())
}

/// Replaces the note by `noted`, which names earlier points. Durable on return.
///
/// # Errors
/// If the note or a vote is lost, or the system fails.
pub(crate) fn take_back(disk: &dyn Disk, directory: &Directory, noted: Noted) -> Result<(), OpenError> {
    let path = directory.file(names::HARD_STATE);
    let mut file = HardStateFile::open(disk, &path, false)?;
    file.take_back(noted).map_err(io_error("write", &path))
}
