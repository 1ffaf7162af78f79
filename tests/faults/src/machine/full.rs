//! A full disk: a file of ballast takes all that is free.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{Active, Error, Result, Shared};

/// Ballast in place.
pub(crate) struct Full {
    shared: Arc<Shared>,
    id: u64,
    ballast: PathBuf,
    removed: bool,
}

impl Full {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        let ballast = shared.disk(id).root().join("ballast");
        let file = File::create(&ballast).map_err(Error::io("create", &ballast))?;
        let own = Self { shared: shared.clone(), id, ballast, removed: false };
        // First in one piece, then what is too small for that, block by block.
        let mut length = 0;
        let mut piece = own.free()?;
        while piece >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), length, piece) {
                Ok(()) => length += piece,
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(errno) => return Err(Error::io("allocate", &own.ballast)(errno.into())),
            }
        }
        Ok(own)
    }

    fn free(&self) -> Result<u64> {
        let root = self.shared.disk(self.id).root();
        let stat = statvfs(root).map_err(|errno| Error::io("ask for the free space of", root)(errno.into()))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

impl Active for Full {
    fn observed(&mut self) -> Result<Option<String>> {
        if self.removed {
            return Ok(None);
        }
        let free = self.free()?;
        // A file is so small that the directory has room for it; what is in it has none.
        let probe = self.shared.disk(self.id).root().join("probe-full");
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
        let written = opened.and_then(|mut file| file.write_all(&[1; 1 << 16]).and_then(|()| file.sync_all()));
        let _ = fs::remove_file(&probe);
        let refused = written.err().filter(|error| error.kind() == std::io::ErrorKind::StorageFull);
        Ok(refused.map(|error| format!("{free} bytes free; a write was answered with {error}")))
    }

    fn remove(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        fs::remove_file(&self.ballast).map_err(Error::io("remove", &self.ballast))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}
