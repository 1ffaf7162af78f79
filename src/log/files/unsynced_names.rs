//! File names that processes see and the disk may lack.
//!
//! When the sync of a directory has failed, the system may have dropped the changes of names that it could not write,
//! and shows them all the same: the next sync returns `Ok` without them. The log stops, but the next start may come
//! while the same system runs. Its rule: **a name that it goes by is known to be on the disk by something that was
//! noted behind a sync of it, or is made anew; and what loses its name was made worthless before.**
//!
//! | name | known by | else |
//! |---|---|---|
//! | `identity` | a `hard-state`, which is made once it is durable | written anew |
//! | its version | nothing | written anew before the first roll of a life ([`Directory::raise`]) |
//! | `hard-state` | a vote or a note in it: nothing is put there before it is durable | written anew, as it was made |
//! | `start` | nothing | renamed, and renamed back |
//! | a segment | a durable point beyond its start: it is noted behind the sync of the directory | the same |
//! | one that is gone | nothing | if it comes back it has no header: no start takes it for a segment |
//!
//! What else there is in a directory can be lost, or come back, without harm.

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

/// Bytes overwritten at the start of a file before the file is removed: a whole page, because the system reads a page
/// before it writes a part of it, and the read may fail.
const PAGE: u64 = 4096;

/// Gives the files their names back that a start was renaming when it died. Returns the names in `dir`.
///
/// # Errors
/// If the system fails, or nothing may be written there.
pub(crate) fn put_back(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, OpenError> {
    let mut found = disk.list(dir).map_err(io_error("list", dir))?;
    let again: Vec<_> =
        found.iter().filter_map(|name| Some((name.clone(), names::final_name(name)?.to_owned()))).collect();
    for (name, usual) in again {
        let file = dir.join(&name);
        found.retain(|other| *other != name);
        if found.contains(&usual) {
            // Both are names of one file after a loss of power: a rename of one to the other does nothing.
            remove_if_there(disk, &file).map_err(io_error("remove", &file))?;
            continue;
        }
        disk.rename(&file, &dir.join(&usual)).map_err(io_error("rename back", &file))?;
        found.push(usual);
    }
    Ok(found)
}

/// Removes the file of a segment that is cut off and not open.
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

/// Makes the names anew by which a log was found and which are not known to be on the disk: before anything is removed,
/// and before the directory is synced. `start`: there is a start file. `durable` was noted. Needs no room on the disk.
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
        // A start that comes after a crash in between finds the file by the other name.
        let (file, away) = (directory.file(&name), directory.file(&names::renaming(&name)));
        disk.rename(&file, &away).map_err(io_error("rename", &file))?;
        disk.rename(&away, &file).map_err(io_error("rename back", &away))?;
    }
    Ok(())
}
