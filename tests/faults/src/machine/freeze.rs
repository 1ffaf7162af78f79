//! A hung disk: a filesystem that lets nobody write until it is thawed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::Disk;
use super::{Active, Result, Shared, os};

/// A filesystem that is frozen.
pub(crate) struct Frozen {
    shared: Arc<Shared>,
    id: u64,
    thawed: bool,
    /// A write of ours that must not come back.
    probe: Option<JoinHandle<std::io::Result<()>>>,
    came_back: Arc<AtomicBool>,
}

impl Frozen {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        freeze(shared.disk(id))?;
        let came_back = Arc::new(AtomicBool::new(false));
        let mut own = Self { shared: shared.clone(), id, thawed: false, probe: None, came_back };
        let (file, flag) = (shared.disk(id).root().join("probe"), own.came_back.clone());
        let write = move || {
            let written = fs::write(&file, "probe").and_then(|()| fs::remove_file(&file));
            flag.store(true, Ordering::SeqCst);
            written
        };
        own.probe = Some(std::thread::spawn(write));
        Ok(own)
    }
}

impl Active for Frozen {
    fn observed(&mut self) -> Result<Option<String>> {
        if self.thawed {
            return Ok(None);
        }
        // Long enough for a write to a disk that does not hang.
        let back = os::until(Duration::from_millis(50), || self.came_back.load(Ordering::SeqCst));
        Ok((!back).then(|| "a write to the frozen filesystem does not come back".to_owned()))
    }

    fn remove(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.thawed, true) {
            return Ok(());
        }
        thaw(self.shared.disk(self.id))?;
        if let Some(probe) = self.probe.take() {
            // It wrote to a disk that may be full or dead for other reasons.
            let _ = probe.join();
        }
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

fn freeze(disk: &Disk) -> Result<()> {
    os::run("fsfreeze", &["-f", &disk.root().to_string_lossy()]).map(|_| ())
}

fn thaw(disk: &Disk) -> Result<()> {
    os::run("fsfreeze", &["-u", &disk.root().to_string_lossy()]).map(|_| ())
}

/// Whether a filesystem can be frozen and thawed.
pub(crate) fn probe(disk: &Disk) -> Result<()> {
    freeze(disk)?;
    thaw(disk)
}
