//! Loss of power: the filesystem is shut down under the process, so that what was not synced never reaches the disk;
//! then the process is killed, and the disk mounted again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::disk::Disk;
use super::{Active, Error, Result, Shared, os};

const SYNCED: &str = "probe-synced";
const UNSYNCED: &str = "probe-unsynced";

/// What becomes of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// They end with the power.
    Kill,
    /// Only the disk is gone: they see that it answers nothing but errors. They are killed when it comes back.
    Leave,
}

/// Nodes without power, or with a disk that died.
pub(crate) struct Dark {
    shared: Arc<Shared>,
    ids: Vec<u64>,
    evidence: Vec<String>,
    restored: bool,
}

impl Dark {
    pub(crate) fn install(shared: &Arc<Shared>, ids: &[u64], then: Then) -> Result<Self> {
        let mut own = Self { shared: shared.clone(), ids: Vec::new(), evidence: Vec::new(), restored: false };
        // All is got ready first: then the power fails everywhere as good as at once.
        for id in ids {
            prepare(shared.disk(*id))?;
        }
        if then == Then::Kill {
            // Shutting one filesystem down after the other takes long enough for the last node to sync what the first
            // ones have only acknowledged.
            let pids: Vec<u32> = ids.iter().flat_map(|id| shared.processes(*id)).collect();
            pids.iter().try_for_each(|pid| os::signal(*pid, Signal::STOP))?;
        }
        for id in ids {
            own.ids.push(*id);
            shut_down(shared.disk(*id))?;
        }
        for id in ids {
            let refused = probe(shared.disk(*id), "probe-after").err();
            let refused = refused.ok_or_else(|| Error::State(format!("node {id} can write after a loss of power")))?;
            if then == Then::Kill {
                kill(shared, *id)?;
            }
            own.evidence.push(format!("n{id}: a write after it was answered with {refused}"));
        }
        Ok(own)
    }
}

impl Active for Dark {
    fn observed(&mut self) -> Result<Option<String>> {
        Ok(Some(self.evidence.join("; ")))
    }

    fn remove(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.restored, true) {
            return Ok(());
        }
        let back = |id: &u64| {
            kill(&self.shared, *id)?;
            restore(self.shared.disk(*id)).map(|name| (*id, name))
        };
        let back = self.ids.iter().map(back);
        // All are mounted again, whichever fails.
        for back in back.collect::<Vec<_>>() {
            let (id, name) = back?;
            let name = if name { "its name is there" } else { "its name too" };
            self.evidence.push(format!("n{id}: what was synced is there after it, what was not is gone, {name}"));
        }
        Ok(())
    }
}

impl Drop for Dark {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

fn kill(shared: &Shared, id: u64) -> Result<()> {
    let left = os::kill_all(&shared.processes(id), Duration::from_secs(5));
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::State(format!("processes {left:?} of node {id} outlive SIGKILL")))
}

/// A file that is synced, and one that is not.
fn prepare(disk: &Disk) -> Result<()> {
    let synced = probe(disk, SYNCED).map_err(Error::io("write", disk.root()))?;
    synced.sync_all().map_err(Error::io("sync", disk.root()))?;
    disk.sync_dir()?;
    probe(disk, UNSYNCED).map_err(Error::io("write", disk.root())).map(|_| ())
}

fn probe(disk: &Disk, name: &str) -> std::io::Result<File> {
    let mut file = File::create(disk.root().join(name))?;
    file.write_all(name.as_bytes())?;
    Ok(file)
}

/// Without `-f`: the journal is not written out, as it would not be.
fn shut_down(disk: &Disk) -> Result<()> {
    os::run("xfs_io", &["-x", "-c", "shutdown", &disk.root().to_string_lossy()]).map(|_| ())
}

/// Mounts it again: whether the name of the file that was not synced is there.
fn restore(disk: &Disk) -> Result<bool> {
    disk.unmount()?;
    disk.mount()?;
    let path = |name: &str| -> PathBuf { disk.root().join(name) };
    let (synced, unsynced) = (fs::read(path(SYNCED)), fs::read(path(UNSYNCED)));
    let kept = synced.as_deref().is_ok_and(|bytes| bytes == SYNCED.as_bytes());
    // A sync of another's may have taken the name along, but not the bytes.
    let lost = unsynced.as_deref().map_or(true, |bytes| bytes != UNSYNCED.as_bytes());
    let _ = (fs::remove_file(path(SYNCED)), fs::remove_file(path(UNSYNCED)));
    match (kept, lost) {
        (true, true) => Ok(unsynced.is_ok()),
        (false, _) => Err(Error::State(format!("{}: what was synced is lost", disk.root().display()))),
        (_, false) => Err(Error::State(format!("{}: what was not synced is still there", disk.root().display()))),
    }
}

/// Whether a filesystem can be shut down and mounted again: tried on this one, which nobody uses yet.
pub(crate) fn works(disk: &Disk) -> Result<()> {
    os::installed("xfs_io").map_err(|why| Error::not_here("filesystem shutdown", why))?;
    prepare(disk)?;
    let shut = shut_down(disk);
    restore(disk)?;
    shut
}
