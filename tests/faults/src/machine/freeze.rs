//! A hung disk: a filesystem that lets nobody write until it is thawed.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::os::OWNER;
use super::{Active, Error, Result, Shared, os};

/// Longest that a write may take to come back once its filesystem is thawed.
const BACK: Duration = Duration::from_secs(30);

/// A filesystem that is frozen.
pub(crate) struct Frozen {
    shared: Arc<Shared>,
    id: u64,
    thawed: bool,
    /// A write of ours that must not come back. Not by a thread: this process could not be killed while it waits.
    probe: Option<Child>,
}

impl Frozen {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        freeze(shared.disk(id))?;
        let mut own = Self { shared: shared.clone(), id, thawed: false, probe: None };
        let file = shared.disk(id).root().join("probe-frozen");
        let mut write = Command::new("sh");
        write.args(["-c", "echo probe >\"$0\" && rm \"$0\""]).arg(&file).env(OWNER, format!("{}/probe", shared.name));
        let write = write.stderr(Stdio::null()).spawn();
        own.probe = Some(write.map_err(Error::io("run a shell that writes to", &file))?);
        Ok(own)
    }
}

impl Active for Frozen {
    fn observed(&mut self) -> Result<Option<String>> {
        let Some(probe) = &self.probe else { return Ok(None) };
        // Long enough for a write to a disk that does not hang.
        let back = os::ended(probe.id(), Duration::from_millis(50));
        Ok((!back).then(|| "a write to the frozen filesystem does not come back".to_owned()))
    }

    fn remove(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.thawed, true) {
            return Ok(());
        }
        thaw(self.shared.disk(self.id))?;
        let Some(mut probe) = self.probe.take() else { return Ok(()) };
        let root = self.shared.disk(self.id).root();
        // How it ended says nothing: its disk may be full or dead for other reasons.
        match os::ends(&mut probe, BACK).map_err(Error::io("wait for a write to", root))? {
            Some(_) => Ok(()),
            None => Err(Error::State(format!("a write to {} hangs, {BACK:?} after it was thawed", root.display()))),
        }
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
    os::installed("fsfreeze").map_err(|why| Error::not_here("filesystem freeze", why))?;
    freeze(disk)?;
    thaw(disk)
}
