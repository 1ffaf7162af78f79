//! A ledger's directory: its identity, and the lock that one process holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskDir, sync_failed};
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::sealed::{self, SealedError};
use crate::format::segment::{Cursor, SEGMENT_HEADER};
use crate::format::{DIRECTORY_VERSION, FORMAT_VERSION};
use crate::log::names::{self, FileKind};
use crate::log::unsynced_names::put_back;
use crate::types::{ClusterName, Group, Incarnation, NodeId};

/// Mark of the identity file.
pub(crate) const MAGIC: [u8; 8] = *b"DLEDGIDY";

/// The ledger, node and disk that a directory is made for. Written once, and again only when `recover` makes a new
/// cluster of a survivor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster: ClusterName,
    /// The ledger.
    pub(crate) group: Group,
    /// The node.
    pub(crate) node: NodeId,
    /// Bytes of a segment.
    pub(crate) segment_size: u64,
    /// The disk. [`Directory::open`] does not compare it: a directory keeps the one that it was made with.
    pub(crate) incarnation: Incarnation,
}

/// The cluster, ledger and node that a directory belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) cluster: &'a ClusterName,
    pub(crate) group: &'a Group,
    pub(crate) node: &'a NodeId,
}

impl Identity {
    fn owner(&self) -> Owner<'_> {
        Owner { cluster: &self.cluster, group: &self.group, node: &self.node }
    }

    /// Chain value before the first entry. It makes every chain value of the ledger depend on cluster and group.
    pub(crate) fn chain_seed(&self) -> u32 {
        let cluster = crc32c::crc32c(self.cluster.as_str().as_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(cluster, &[0]), self.group.as_str().as_bytes())
    }

    /// Where the ledger begins.
    pub(crate) fn genesis(&self) -> Cursor {
        let chain = self.chain_seed();
        Cursor { position: SEGMENT_HEADER as u64, number: 0, index: 0, term: 0, timestamp: 0, chain }
    }
}

/// An open, locked directory.
pub(crate) struct Directory {
    path: PathBuf,
    identity: Identity,
    /// The version in the identity file.
    version: Mutex<Version>,
    /// The open directory: a sync of it must not fail for want of a descriptor. `None`: opened only for reading.
    dir: Option<Arc<dyn DiskDir>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// The format version of a directory.
struct Version {
    /// What the identity file says.
    said: u32,
    /// This process has written [`DIRECTORY_VERSION`]. A version that it merely found may not be on the disk.
    raised: bool,
}

impl Directory {
    /// Locks `path`, making it if it is not there, and checks that it was made for `wanted`.
    ///
    /// # Errors
    /// The directory is locked, made for something else, or of another version; or the system fails.
    pub(crate) fn open(disk: &dyn Disk, path: PathBuf, wanted: Identity) -> Result<Self, OpenError> {
        disk.create_dir(&path).map_err(io_error("create directory", &path))?;
        let lock = take_lock(disk, &path)?;
        let there = put_back(disk, &path)?;
        let (identity, version) = match read_identity(disk, &path)? {
            Some((found, version)) => {
                compare(&path, &found, &wanted)?;
                (found, version)
            }
            None => {
                refuse_leftovers(&there, &path)?;
                (wanted, FORMAT_VERSION)
            }
        };
        // The identity is the first file written. Without a hard state nothing proves that it is on the disk yet.
        if !there.iter().any(|name| name == names::HARD_STATE) {
            replace_identity(disk, &path, &identity, version)?;
        }
        let dir = disk.open_dir(&path).map_err(io_error("open directory", &path))?;
        let version = Mutex::new(Version { said: version, raised: false });
        Ok(Self { path, identity, version, dir: Some(dir), lock: Mutex::new(Some(lock)) })
    }

    /// Locks an existing directory, and takes the identity that it has.
    ///
    /// # Errors
    /// The directory is locked, not a ledger's, or of another version; or the system fails.
    pub(crate) fn existing(disk: &dyn Disk, path: PathBuf) -> Result<Self, OpenError> {
        match read_identity(disk, &path)? {
            Some((identity, _)) => Self::open(disk, path, identity),
            None => {
                let why = format!("there is no {} file in it; a ledger's directory is DATA_DIR/GROUP", names::IDENTITY);
                Err(OpenError::Unexpected { path, why })
            }
        }
    }

    /// A directory that the caller has locked, and whose identity it has read.
    pub(in crate::log) fn of(path: PathBuf, (identity, version): (Identity, u32)) -> Self {
        let version = Mutex::new(Version { said: version, raised: false });
        Self { path, identity, version, dir: None, lock: Mutex::new(None) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The format version of the directory.
    pub(crate) fn version(&self) -> u32 {
        self.version.lock().said
    }

    /// Whether this process has raised the version.
    pub(in crate::log) fn is_raised(&self) -> bool {
        self.version.lock().raised
    }

    /// Raises the directory to [`DIRECTORY_VERSION`], durably: from then on a program that knows only earlier versions
    /// refuses the directory, and so takes no newer entry for a torn tail.
    ///
    /// # Errors
    /// If the system fails.
    pub(in crate::log) fn raise(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut version = self.version.lock();
        if !version.raised {
            let bytes = sealed::encode_as(&MAGIC, DIRECTORY_VERSION, &self.identity).map_err(io::Error::other)?;
            disk.write_atomic(&self.file(names::IDENTITY), &bytes)?;
            *version = Version { said: DIRECTORY_VERSION, raised: true };
        }
        Ok(())
    }

    /// Makes creations, renames and removals in the directory durable.
    ///
    /// # Errors
    /// If the system fails: then nobody knows which of them are durable.
    pub(in crate::log) fn sync(&self) -> io::Result<()> {
        match &self.dir {
            Some(dir) => dir.sync().map_err(sync_failed),
            None => Err(io::Error::other("the directory was opened only for reading")),
        }
    }

    /// Releases the lock, so that another process or log may open the directory.
    pub(in crate::log) fn unlock(&self) {
        self.lock.lock().take();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn segment(&self, position: u64) -> PathBuf {
        self.path.join(names::segment(position))
    }

    pub(crate) fn index(&self, position: u64) -> PathBuf {
        self.path.join(names::index(position))
    }
}

/// Writes `identity` to `dir`, which is of `version`. The caller has locked the directory.
///
/// # Errors
/// If the system fails: then the directory has its old identity or this one.
pub(crate) fn replace_identity(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
    version: u32,
) -> Result<(), OpenError> {
    let file = dir.join(names::IDENTITY);
    let bytes =
        sealed::encode_as(&MAGIC, version, identity).map_err(|e| io_error("encode", &file)(io::Error::other(e)))?;
    disk.write_atomic(&file, &bytes).map_err(io_error("write", &file))
}

/// Whether `dir` has not been made for any ledger yet.
pub(crate) fn is_new(disk: &dyn Disk, dir: &Path) -> bool {
    // An unreadable identity file exists too: `Directory::open` will say what is wrong with it.
    matches!(disk.read(&dir.join(names::IDENTITY)), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// A locked directory that may be deleted: its identity is that of the ledger to delete.
pub(crate) struct Doomed {
    dir: PathBuf,
    lock: Box<dyn Send + Sync>,
}

/// Locks `dir` to delete it, if it belongs to `owner`. `None`: there is no such directory.
///
/// # Errors
/// Another process or log has the directory open, or nothing proves that it is `owner`'s: its identity is another one
/// or cannot be read, or it has none and is not empty. The directory stays as it is.
pub(crate) fn doom(disk: &dyn Disk, dir: &Path, owner: Owner<'_>) -> Result<Option<Doomed>, OpenError> {
    // Checked before the lock is taken: the lock would leave its file in another owner's directory.
    if !is_of(disk, dir, owner)? {
        return Ok(None);
    }
    let lock = take_lock(disk, dir)?;
    // Checked again: the process that held the lock until now may have changed the identity.
    Ok(is_of(disk, dir, owner)?.then(|| Doomed { dir: dir.to_owned(), lock }))
}

impl Doomed {
    /// Deletes the directory.
    ///
    /// The identity goes first, durably: if a crash prevents the rest, [`Directory::open`] refuses the leftovers, and
    /// no start takes them for a ledger that has not voted yet.
    ///
    /// # Errors
    /// If the system fails.
    pub(crate) fn delete(self, disk: &dyn Disk) -> io::Result<()> {
        let Self { dir, lock } = self;
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        gone(disk.remove(&dir.join(names::IDENTITY)))?;
        disk.sync_dir(&dir)?;
        for name in disk.list(&dir)? {
            gone(disk.remove(&dir.join(name)))?;
        }
        disk.sync_dir(&dir)?;
        drop(lock);
        match disk.remove_dir(&dir) {
            // A volume is mounted at this path: the empty mount point stays.
            Err(error) if of_a_volume(&error) && disk.list(&dir)?.is_empty() => Ok(()),
            removed => gone(removed),
        }
    }
}

/// Whether the error of a removal may mean that a volume is mounted there, or that the system keeps files of its own in
/// the directory.
fn of_a_volume(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty)
}

/// Whether `dir` exists, as `owner`'s or as an empty directory.
///
/// # Errors
/// The directory exists, and belongs to another owner or cannot be shown to be `owner`'s.
fn is_of(disk: &dyn Disk, dir: &Path, owner: Owner<'_>) -> Result<bool, OpenError> {
    match read_identity(disk, dir)? {
        Some((found, _)) => compare_owner(dir, found.owner(), owner)?,
        None => match disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => refuse_leftovers(&found.map_err(io_error("list", dir))?, dir)?,
        },
    }
    Ok(true)
}

/// Locks `dir` until the value is dropped.
pub(in crate::log) fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    let file = dir.join(names::LOCK);
    disk.lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_owned(), pid: disk.holder(&file) },
        _ => io_error("lock", dir)(source),
    })
}

/// Checks that no process or log has `dir` open at this moment. Makes nothing: a missing directory is free.
///
/// # Errors
/// The directory is open. Anything else that is wrong with the directory is left for [`Directory::open`] to report.
pub(crate) fn is_free(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if !disk.list(dir).is_ok_and(|names| names.iter().any(|name| name == names::LOCK)) {
        return Ok(());
    }
    match take_lock(disk, dir) {
        Err(locked @ OpenError::Locked { .. }) => Err(locked),
        _ => Ok(()),
    }
}

/// Makes an [`OpenError`] of the failed call `op` on `path`.
pub(crate) fn io_error(op: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { op, path: path.clone(), source }
}

/// The identity of `dir`, and its version. `None`: there is no identity file.
///
/// # Errors
/// If the identity is damaged or of a later version, or the system fails.
pub(in crate::log) fn read_identity(disk: &dyn Disk, dir: &Path) -> Result<Option<(Identity, u32)>, OpenError> {
    let (file, newest) = (dir.join(names::IDENTITY), (&MAGIC, DIRECTORY_VERSION));
    match disk.read(&file) {
        Ok(bytes) => unseal_until(&file, newest, &bytes, "identity", "what the directory was made for").map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &file)(error)),
    }
}

/// Decodes a sealed metadata file. `what` and `expected` describe its content in the error for a damaged file.
pub(in crate::log) fn unseal<T: DeserializeOwned>(
    file: &Path,
    magic: &[u8; 8],
    bytes: &[u8],
    what: &'static str,
    expected: &'static str,
) -> Result<T, OpenError> {
    unseal_until(file, (magic, FORMAT_VERSION), bytes, what, expected).map(|(value, _)| value)
}

fn unseal_until<T: DeserializeOwned>(
    file: &Path,
    (magic, newest): (&[u8; 8], u32),
    bytes: &[u8],
    what: &'static str,
    expected: &'static str,
) -> Result<(T, u32), OpenError> {
    sealed::decode(magic, newest, bytes).map_err(|error| match error {
        SealedError::Version { found } => OpenError::Version { file: file.to_owned(), found, supported: newest },
        error => {
            let mismatch = Mismatch::new(what, error, expected);
            Damage { file: file.to_owned(), position: 0, index: 0, mismatch }.into()
        }
    })
}

fn compare(dir: &Path, found: &Identity, wanted: &Identity) -> Result<(), OpenError> {
    compare_owner(dir, found.owner(), wanted.owner())?;
    differs(dir, "segment size", &found.segment_size, &wanted.segment_size)
}

fn compare_owner(dir: &Path, found: Owner<'_>, wanted: Owner<'_>) -> Result<(), OpenError> {
    differs(dir, "cluster", found.cluster, wanted.cluster)?;
    differs(dir, "group", found.group, wanted.group)?;
    differs(dir, "node", found.node, wanted.node)
}

fn differs(dir: &Path, what: &'static str, found: &dyn ToString, wanted: &dyn ToString) -> Result<(), OpenError> {
    match Mismatch::between(what, found.to_string(), wanted.to_string()) {
        None => Ok(()),
        Some(mismatch) => Err(OpenError::Foreign { dir: dir.to_owned(), mismatch }),
    }
}

/// A directory without an identity must be empty: the identity is the first thing a ledger writes, so anything else is
/// somebody's data, or a ledger whose identity was lost.
fn refuse_leftovers(found: &[String], dir: &Path) -> Result<(), OpenError> {
    for name in found {
        if name != names::LOCK && names::kind(name) != Some(FileKind::Temporary) {
            let why = format!("the directory has no {} file but is not empty", names::IDENTITY);
            return Err(OpenError::Unexpected { path: dir.join(name), why });
        }
    }
    Ok(())
}
