//! The disk of a node: an ext4 filesystem of limited size in a file, mounted by a loop device; or a mere directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Result, os, sweep};

/// The disk of one node.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// The file that stands for the device; none where the disk is a directory of the host's.
    image: Option<PathBuf>,
    root: PathBuf,
}

impl Disk {
    /// A filesystem of its own. It is unmounted with all else under the machine's home.
    pub(crate) fn mounted(home: &Path, id: u64, size: u64) -> Result<Self> {
        for program in ["mkfs.ext4", "mount", "umount"] {
            os::installed(program).map_err(|why| Error::not_here("filesystem per node", why))?;
        }
        let image = home.join(format!("n{id}.img"));
        let file = File::create_new(&image).map_err(Error::io("create", &image))?;
        file.set_len(size).map_err(Error::io("set the length of", &image))?;
        let disk = Self { root: home.join(format!("n{id}")), image: Some(image.clone()) };
        fs::create_dir(&disk.root).map_err(Error::io("create", &disk.root))?;
        // No blocks kept for root: full is to mean full.
        os::run("mkfs.ext4", &["-q", "-F", "-m", "0", &image.to_string_lossy()])?;
        disk.mount()?;
        disk.with_data()
    }

    /// A directory of the host's.
    pub(crate) fn plain(home: &Path, id: u64) -> Result<Self> {
        let disk = Self { image: None, root: home.join(format!("n{id}")) };
        fs::create_dir(&disk.root).map_err(Error::io("create", &disk.root))?;
        disk.with_data()
    }

    fn with_data(self) -> Result<Self> {
        let data = self.data();
        fs::create_dir(&data).map_err(Error::io("create", &data))?;
        // A loss of power must not take the directory itself.
        self.sync_dir()?;
        Ok(self)
    }

    /// Where the filesystem is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the node's data is.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn sync_dir(&self) -> Result<()> {
        let dir = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        dir.sync_all().map_err(Error::io("sync", &self.root))
    }

    pub(crate) fn mount(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let (image, root) = (image.to_string_lossy(), self.root.to_string_lossy());
        os::run("mount", &["-o", "loop,noatime", &image, &root]).map(|_| ())
    }

    /// Unmounts it, whatever state it is in, and waits until nobody has it any more: two lives of one filesystem at a
    /// time would destroy it.
    pub(crate) fn unmount(&self) -> Result<()> {
        let mut last = Ok(());
        let mut unmounted = || {
            last = os::run("umount", &[&self.root.to_string_lossy()]).map(|_| ());
            last.is_ok()
        };
        if !os::until(Duration::from_secs(5), &mut unmounted) {
            return last;
        }
        if os::until(Duration::from_secs(5), || self.device().is_none()) {
            return Ok(());
        }
        let why = "is still mounted in another mount namespace: whose process copied the mounts?";
        Err(Error::State(format!("{} {why}", self.root.display())))
    }

    /// The name of its loop device: `loop3`.
    pub(crate) fn device(&self) -> Option<String> {
        let image = self.image.as_ref()?;
        sweep::loops().into_iter().find(|(_, file)| file == image).map(|(device, _)| device)
    }

    /// The number of its device: `7:3`.
    pub(crate) fn number(&self) -> Result<String> {
        let device = self.device().ok_or_else(|| Error::State(format!("{} is not mounted", self.root.display())))?;
        let file = format!("/sys/block/{device}/dev");
        Ok(fs::read_to_string(&file).map_err(Error::io("read", &file))?.trim().to_owned())
    }
}
