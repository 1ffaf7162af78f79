//! File names that processes see and the disk may lack.
//!
//! After a failed sync of a directory, the system may have dropped the name changes that it could not write, but still
//! shows them to processes: the next sync returns `Ok` without writing them. The log stops at such a failure, but the
//! next start may happen under the same system. So a start follows this rule: **a name that it relies on is either
//! proven to be on the disk, by a note made after a sync of the directory, or made anew; and a file is made worthless
//! before its name is removed.**
//!
//! | name | proven by | else |
//! |---|---|---|
//! | `identity` | a `hard-state`, which is made once the identity is durable | written anew |
//! | its version | nothing | written anew before a process's first roll ([`Directory::raise`]) |
//! | `hard-state` | a vote or a note in the file: none is written before the file is durable | made anew, empty |
//! | `start` | nothing | renamed, and renamed back |
//! | a segment | a durable point behind its start: noted after a sync of the directory | renamed, and renamed back |
//! | a removed segment | nothing | if it comes back it has no header: no start takes it for a segment |
//!
//! Any other name in the directory can be lost, or come back, without harm.

use std::io;
use std::path::Path;

use super::log_files::{LogFiles, remove_if_there};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::hard_state::LogPoint;
use crate::log::directory::io_error;
use crate::log::names;
use crate::segment::Segment;
use std::sync::Arc;

/// Bytes overwritten at the start of a file before the file is removed: a whole page, because the system would read the
/// page first to write a part of it, and that read may fail.
const PAGE: u64 = 4096;

/// Renames the files back that a start was renaming when it died. Returns the names in `dir`.
///
/// # Errors
/// If the system fails, or this process may not write in `dir`.
pub(crate) fn put_back(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, OpenError> {
    let mut found = disk.list(dir).map_err(io_error("list", dir))?;
    let again: Vec<_> =
        found.iter().filter_map(|name| Some((name.clone(), names::final_name(name)?.to_owned()))).collect();
    for (name, usual) in again {
        let file = dir.join(&name);
        found.retain(|other| *other != name);
        if found.contains(&usual) {
            // After a loss of power both names may belong to one file: a rename of one to the other would do nothing.
            remove_if_there(disk, &file).map_err(io_error("remove", &file))?;
            continue;
        }
        disk.rename(&file, &dir.join(&usual)).map_err(io_error("rename back", &file))?;
        found.push(usual);
    }
    Ok(found)
}

/// Removes the file of a segment that was cut off and is not open. Overwrites the header first: see the module's table.
///
/// # Errors
/// If the system fails.
pub(crate) fn remove_segment(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => {
            let file = file?;
            file.write_at(&[0; PAGE as usize][..file.size().min(PAGE) as usize], 0)?;
            file.sync()?;
        }
    }
    remove_if_there(disk, path)
}

/// Makes anew the names that the log was found by and that nothing proves to be on the disk. To be called before
/// anything is removed and before the directory is synced. `start`: there is a start file; `durable`: the noted durable
/// point. Needs no room on the disk.
pub(in crate::log) fn renew_names(
    files: &LogFiles,
    start: bool,
    segments: &[Arc<Segment>],
    durable: LogPoint,
) -> Result<(), OpenError> {
    let (disk, directory) = (files.disk(), files.directory());
    let start = start.then(|| names::START.to_owned());
    let unsynced = segments.iter().filter(|segment| segment.start().number >= durable.number);
    for name in start.into_iter().chain(unsynced.map(|segment| names::segment(segment.position()))) {
        // After a crash between the two renames, the next start renames the file back (`put_back`).
        let (file, away) = (directory.file(&name), directory.file(&names::renaming(&name)));
        disk.rename(&file, &away).map_err(io_error("rename", &file))?;
        disk.rename(&away, &file).map_err(io_error("rename back", &away))?;
    }
    Ok(())
}
