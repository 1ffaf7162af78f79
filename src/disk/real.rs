//! The file system.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapOptions;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use super::owner::{give_to_owner_of_directory, give_to_owner_of_parent};
use super::reserve::{ReserveOpener, reserve};
use super::{Disk, DiskDir, DiskFile, Mapping, Space, TEMPORARY, lock, sync_failed};

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    size: u64,
}

/// Files hold user data: only their owner reads them, and the group as far as [`give_to_owner_of_directory`] allows.
/// Opening a link in the place of a file fails.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

impl RealDisk {
    /// An existing file, opened for reading only.
    pub(super) fn open_to_read(&self, file: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(file)
    }

    /// The same, as a [`DiskFile`].
    pub(super) fn reading(&self, file: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_to_read(file)?;
        let size = file.metadata()?.len();
        Ok(Arc::new(RealFile { file, size }))
    }
}

#[derive(Debug)]
struct RealDir(File);

impl DiskDir for RealDir {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        for missing in missing(dir) {
            match DirBuilder::new().mode(0o700).create(missing) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => {}
                Ok(()) => give_to_owner_of_parent(missing)?,
            }
            self.sync_dir(parent_of(missing))?;
        }
        for (parent, ours) in parents(dir) {
            match File::open(parent) {
                // A process that cannot read the parent has hardly made a directory in it.
                Err(error) if !ours && error.kind() == io::ErrorKind::PermissionDenied => {}
                opened => opened?.sync_all()?,
            }
        }
        Ok(())
    }

    fn lock(&self, file: &Path) -> io::Result<Box<dyn Send + Sync>> {
        reserve();
        let made = options().create_new(true).open(file);
        let file = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(file)?,
            made => {
                let made = made?;
                give_to_owner_of_directory(&made, file)?;
                made
            }
        };
        lock::hold(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// The holder according to `/proc/locks`. That lists processes as this one sees them: it lacks those of another
    /// container, and for some file systems it has another device number.
    fn holder(&self, file: &Path) -> Option<u32> {
        let stat = std::fs::symlink_metadata(file).ok()?;
        let (major, minor) = (rustix::fs::major(stat.dev()), rustix::fs::minor(stat.dev()));
        holder_in(&std::fs::read_to_string("/proc/locks").ok()?, &format!("{major:02x}:{minor:02x}:{}", stat.ino()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // The root of a mounted volume has this directory, which belongs to the file system and not to a ledger.
            if name != "lost+found" || !entry.file_type()?.is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }

    fn write_atomic(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        // Declared first, so dropped last: the descriptors that it opened are closed when it fills the reserve.
        let mut opener = ReserveOpener::default();
        // Opened before the rename: after it, a failure to open the directory could not be undone.
        let dir = opener.open(|| File::open(parent_of(file)))?;
        let (target, temporary) = written_beside(file, bytes, |open| opener.open(open))?;
        target.sync_all().map_err(sync_failed)?;
        std::fs::rename(&temporary, file)?;
        dir.sync_all().map_err(sync_failed)
    }

    fn write_cache(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let (_, temporary) = written_beside(file, bytes, |open| open())?;
        std::fs::rename(&temporary, file)
    }

    fn create(&self, file: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let target = options().create_new(true).open(file)?;
        let allocated = rustix::fs::fallocate(&target, FallocateFlags::empty(), 0, size).map_err(io::Error::from);
        if let Err(error) = allocated.and_then(|()| give_to_owner_of_directory(&target, file)) {
            // Removed, so that no start takes the file for a segment. If its removal fails too, the next start reports
            // it by name.
            let _ = std::fs::remove_file(file);
            return Err(error);
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
            // This file system has no direct reads, like some tmpfs.
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

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>> {
        Ok(Arc::new(RealDir(File::open(dir)?)))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space::of(stat.f_frsize, stat.f_blocks, stat.f_bfree, stat.f_bavail))
    }
}

/// Writes a temporary file with these bytes, which the caller renames to `file`. Returns it with its name. Syncs
/// nothing. `opened` opens it.
fn written_beside(
    file: &Path,
    bytes: &[u8],
    opened: impl FnOnce(&dyn Fn() -> io::Result<File>) -> io::Result<File>,
) -> io::Result<(File, PathBuf)> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    // A crash may have left a temporary file, or another user put one there: it may be a link to a file that must not
    // be overwritten.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let target = opened(&|| options().create_new(true).open(&temporary))?;
    give_to_owner_of_directory(&target, &temporary)?;
    if !bytes.is_empty() {
        // So that a full disk is an error here and not at the sync.
        rustix::fs::fallocate(&target, FallocateFlags::empty(), 0, bytes.len() as u64)?;
    }
    target.write_all_at(bytes, 0)?;
    Ok((target, temporary))
}

/// The process that holds an flock on `inode`, in lines like `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
fn holder_in(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == inode => pid.parse().ok().filter(|pid| *pid > 0),
        _ => None,
    })
}

/// Directories that do not exist yet on the way to `dir`, the outermost first.
fn missing(dir: &Path) -> Vec<&Path> {
    let named = dir.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists());
    let mut missing: Vec<_> = named.collect();
    missing.reverse();
    missing
}

/// The two directories above a ledger's directory, and whether they are the node's own. An earlier start may have made
/// names in them and died before it synced them.
fn parents(dir: &Path) -> [(&Path, bool); 2] {
    let parent = parent_of(dir);
    [(parent, true), (parent_of(parent), false)]
}

pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn allocate(&self, range: Range<u64>) -> io::Result<()> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(());
        }
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, range.start, length)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn map(&self) -> io::Result<Mapping> {
        let length = usize::try_from(self.size).map_err(io::Error::other)?;
        let mapped = MmapOptions::new().len(length).map_raw_read_only(&self.file).map_err(|error| {
            let kind = error.kind();
            let why = "use larger segments, or raise vm.max_map_count (each segment takes one mapping of a process)";
            if kind == io::ErrorKind::OutOfMemory { io::Error::new(kind, format!("{error}: {why}")) } else { error }
        })?;
        Ok(Mapping::new(mapped))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Alignment in bytes of direct reads, in the file and in memory: no usual disk has larger blocks.
const BLOCK: usize = 4096;

/// A file that is read past the page cache.
#[derive(Debug)]
struct DirectFile {
    direct: File,
    plain: Arc<dyn DiskFile>,
}

impl DirectFile {
    /// Reads whole blocks into `buffer`, which is aligned. Returns the number of bytes read.
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

    fn allocate(&self, range: Range<u64>) -> io::Result<()> {
        self.plain.allocate(range)
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
            // The disk has larger blocks.
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
    fn what_the_file_system_keeps_for_itself_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        std::fs::write(dir.path().join("other"), b"").unwrap();
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["other"]);
    }

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
    fn who_holds_a_lock_is_told_where_the_system_tells() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = RealDisk.lock(&path).unwrap();
        assert!(RealDisk.holder(&path).is_none_or(|pid| pid == std::process::id()));
        drop(lock);
        assert_eq!(RealDisk.holder(&path), None);
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:12 0 EOF\n2: FLOCK  ADVISORY  WRITE 471 08:01:12 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 472 08:01:12 0 EOF\n3: FLOCK  ADVISORY  READ 0 08:01:13 0 EOF\n";
        assert_eq!((holder_in(locks, "08:01:12"), holder_in(locks, "08:01:13")), (Some(471), None));
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

    /// The process that made a directory may have died before it synced the name, or failed to sync it.
    #[test]
    fn the_name_of_a_directory_is_synced_also_if_it_is_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("data/g");
        assert_eq!(missing(&deep), [dir.path().join("data"), deep.clone()]);
        RealDisk.create_dir(&deep).unwrap();
        assert!(missing(&deep).is_empty());
        assert_eq!(parents(&deep), [(dir.path().join("data").as_path(), true), (dir.path(), false)]);
        assert_eq!(parents(Path::new("data/g")), [(Path::new("data"), true), (Path::new("."), false)]);
        assert!(RealDisk.create_dir(Path::new("/proc/self/task")).is_err(), "nothing can be synced there");
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        assert!(RealDisk.open(&dir.path().join("link")).is_err());
    }
}
