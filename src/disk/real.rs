//! The file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapOptions;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use super::{Disk, DiskFile, Mapping, Space, TEMPORARY, sync_failed};
use crate::mutants::{Mutant, planted};

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    size: u64,
}

/// Files hold user data: only the owner reads them. A link in the place of a file is refused.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut missing = vec![];
        let mut at = dir;
        while !at.as_os_str().is_empty() && !at.exists() {
            missing.push(at);
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        for dir in missing.into_iter().rev() {
            match std::fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_dir(parent_of(dir))?,
            }
        }
        Ok(())
    }

    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = options().create(true).truncate(false).open(file)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = std::fs::read_dir(dir)?.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }

    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = file.as_os_str().to_owned();
        temporary.push(TEMPORARY);
        let temporary = PathBuf::from(temporary);
        let target = options().create(true).truncate(true).open(&temporary)?;
        if !bytes.is_empty() {
            // So that a full disk is an error here and not at the sync.
            rustix::fs::fallocate(&target, FallocateFlags::empty(), 0, bytes.len() as u64)?;
        }
        target.write_all_at(bytes, 0)?;
        target.sync_all().map_err(sync_failed)?;
        std::fs::rename(&temporary, file)?;
        self.sync_dir(parent_of(file)).map_err(sync_failed)
    }

    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let target = options().create_new(true).open(file)?;
        let allocated = rustix::fs::fallocate(&target, FallocateFlags::empty(), 0, size);
        if let Err(error) = allocated {
            // Not to be mistaken for a segment later. If it cannot be removed either, opening reports it by name.
            let _ = std::fs::remove_file(file);
            return Err(error.into());
        }
        Ok(Arc::new(RealFile { file: target, size }))
    }

    fn open(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = options().open(file)?;
        let size = file.metadata()?.len();
        Ok(Arc::new(RealFile { file, size }))
    }

    fn open_direct(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let plain = self.open(file)?;
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECT).bits() as i32;
        match OpenOptions::new().read(true).custom_flags(flags).open(file) {
            Ok(direct) => Ok(Arc::new(DirectFile { direct, plain })),
            // A file system that cannot, like some tmpfs.
            Err(_) => Ok(plain),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn map(&self) -> io::Result<Mapping> {
        let length = usize::try_from(self.size).map_err(io::Error::other)?;
        Ok(Mapping::new(MmapOptions::new().len(length).map_raw_read_only(&self.file)?))
    }

    fn sync(&self) -> io::Result<()> {
        if planted(Mutant::SyncSkipped) {
            return Ok(());
        }
        self.file.sync_data()
    }
}

/// What direct reads must be aligned to, in the file and in memory: the largest block of a usual disk.
const BLOCK: usize = 4096;

/// A file that is read past the page cache.
#[derive(Debug)]
struct DirectFile {
    direct: File,
    plain: Arc<dyn DiskFile>,
}

impl DirectFile {
    /// Reads whole blocks into `buffer`, which is aligned; how many bytes there are.
    fn blocks(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.direct.read_at(&mut buffer[read..], offset + read as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(more) if more % BLOCK != 0 || more == 0 => return Ok(read + more),
                Ok(more) => read += more,
            }
        }
        Ok(read)
    }
}

impl DiskFile for DirectFile {
    fn size(&self) -> u64 {
        self.plain.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let skip = (offset % BLOCK as u64) as usize;
        let length = (skip + buffer.len()).next_multiple_of(BLOCK);
        let mut room = vec![0; length + BLOCK];
        let start = room.as_ptr().align_offset(BLOCK);
        let Some(aligned) = room.get_mut(start..start + length) else { return self.plain.read_at(buffer, offset) };
        match self.blocks(aligned, offset - skip as u64) {
            Ok(read) if read < skip + buffer.len() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                buffer.copy_from_slice(&aligned[skip..skip + buffer.len()]);
                Ok(())
            }
            // A disk with larger blocks.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.plain.read_at(buffer, offset),
            Err(error) => Err(error),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.plain.write_at(bytes, offset)
    }

    fn map(&self) -> io::Result<Mapping> {
        self.plain.map()
    }

    fn sync(&self) -> io::Result<()> {
        self.plain.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_and_the_file_share_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f"), 8192).unwrap();
        let mapping = file.map().unwrap();
        assert_eq!(mapping.copy(5000..5016), [0; 16]);
        file.write_at(b"through the file", 5000).unwrap();
        assert_eq!(mapping.copy(5000..5016), b"through the file");
        let mut buffer = [0; 16];
        file.read_at(&mut buffer, 5000).unwrap();
        assert_eq!(&buffer, b"through the file");
        assert!(mapping.write(100, b"through the mapping").is_err(), "it is mapped to be read");
        let again = RealDisk.open(&dir.path().join("f")).unwrap();
        assert_eq!(again.size(), 8192);
        assert_eq!(again.map().unwrap().copy(5000..5016), buffer);
    }

    #[test]
    fn a_direct_read_gives_the_bytes_of_the_file_at_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..3 * 4096u32 + 700).map(|n| (n % 251) as u8).collect();
        let file = RealDisk.create(&path, bytes.len() as u64).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let direct = RealDisk.open_direct(&path).unwrap();
        for (offset, length) in [(0, 80), (80, 5000), (4095, 2), (4096, 4096), (100, 3 * 4096), (3 * 4096, 700)] {
            let mut buffer = vec![0; length];
            direct.read_at(&mut buffer, offset as u64).unwrap();
            assert!(buffer == bytes[offset..offset + length], "{length} bytes at {offset}");
        }
        assert!(direct.read_at(&mut [0; 10], bytes.len() as u64 - 9).is_err());
    }

    #[test]
    fn a_file_is_created_once_and_a_lock_held_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        RealDisk.create(&path, 4096).unwrap();
        assert_eq!(RealDisk.create(&path, 4096).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let lock = RealDisk.lock(&dir.path().join("lock")).unwrap();
        let again = RealDisk.lock(&dir.path().join("lock")).map(drop).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        RealDisk.lock(&dir.path().join("lock")).unwrap();
    }

    #[test]
    fn an_atomic_write_replaces_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        RealDisk.create_dir(&deep).unwrap();
        RealDisk.create_dir(&deep).unwrap();
        RealDisk.write_atomic(&deep.join("m"), b"one").unwrap();
        RealDisk.write_atomic(&deep.join("m"), b"two").unwrap();
        assert_eq!(RealDisk.read(&deep.join("m")).unwrap(), b"two");
        assert_eq!(RealDisk.list(&deep).unwrap(), ["m"]);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        assert!(RealDisk.open(&dir.path().join("link")).is_err());
    }
}
