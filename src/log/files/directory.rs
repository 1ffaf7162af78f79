//! A ledger's directory: what it was made for, and who has it open.

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

/// What a directory is made for. Written once; anew only where a survivor becomes another cluster.
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
    /// The disk. Ignored when a directory is checked against a configuration.
    pub(crate) incarnation: Incarnation,
}

/// Whose a ledger is.
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

    /// Chain value before the first entry: binds every checksum of the ledger to cluster and group.
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
    /// That of the identity file.
    version: Mutex<Version>,
    /// Kept open, so that a sync of it needs no descriptor. `None`: nobody writes there.
    dir: Option<Arc<dyn DiskDir>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// Which version of the format a directory is of.
struct Version {
    said: u32,
    /// [`DIRECTORY_VERSION`], and written in this life: one that was found need not be on the disk.
    raised: bool,
}

impl Directory {
    /// Locks `path`, making it if it is not there, and checks that it was made for `wanted`.
    ///
    /// # Errors
    /// Locked, made for something else, another version, or the system fails.
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
        // It is written first, and until there is more it need not be on the disk.
        if !there.iter().any(|name| name == names::HARD_STATE) {
            replace_identity(disk, &path, &identity, version)?;
        }
        let dir = disk.open_dir(&path).map_err(io_error("open directory", &path))?;
        let version = Mutex::new(Version { said: version, raised: false });
        Ok(Self { path, identity, version, dir: Some(dir), lock: Mutex::new(Some(lock)) })
    }

    /// Locks a directory that is there already, for whatever it was made.
    ///
    /// # Errors
    /// Locked, no ledger's, another version, or the system fails.
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

    /// Which version of the format it is of.
    pub(crate) fn version(&self) -> u32 {
        self.version.lock().said
    }

    /// Whether [`raise`](Self::raise) has done what it does.
    pub(in crate::log) fn is_raised(&self) -> bool {
        self.version.lock().raised
    }

    /// Makes it one of [`DIRECTORY_VERSION`], durably: a program that reads only what was before refuses it from then
    /// on, and takes nothing that is stored since for a torn tail.
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

    /// Makes creations, renames and removals in it durable.
    ///
    /// # Errors
    /// If the system fails; what is durable is not known then.
    pub(in crate::log) fn sync(&self) -> io::Result<()> {
        match &self.dir {
            Some(dir) => dir.sync().map_err(sync_failed),
            None => Err(io::Error::other("the directory is open to be read only")),
        }
    }

    /// Lets others have the directory.
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

/// Writes anew what `dir`, which is of that version, was made for. The caller has locked it.
///
/// # Errors
/// If the system fails: it is made for what it was, or for this.
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
    // What cannot be read is there: whoever opens it says what is wrong with it.
    matches!(disk.read(&dir.join(names::IDENTITY)), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The directory of a ledger that is to be deleted: locked, and known to be that ledger's.
pub(crate) struct Doomed {
    dir: PathBuf,
    lock: Box<dyn Send + Sync>,
}

/// Locks `dir` to delete it, if it is the one of `owner`'s ledger. `None`: there is no such directory.
///
/// # Errors
/// Somebody has it open, or it is not known to be that ledger's: it bears another identity, none that can be read, or
/// none at all and is not empty. It is as it was.
pub(crate) fn doom(disk: &dyn Disk, dir: &Path, owner: Owner<'_>) -> Result<Option<Doomed>, OpenError> {
    // Before the lock, which would leave its file in a directory that is somebody else's.
    if !is_of(disk, dir, owner)? {
        return Ok(None);
    }
    let lock = take_lock(disk, dir)?;
    // Whoever had it until now may have made it another one's.
    Ok(is_of(disk, dir, owner)?.then(|| Doomed { dir: dir.to_owned(), lock }))
}

impl Doomed {
    /// Deletes it.
    ///
    /// The identity goes first, durably: what is left if the rest does not come to pass is refused by name, and never
    /// taken for a ledger that has not voted yet.
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
            // A volume of its own is mounted there: it stays, and nothing is in it.
            Err(error) if of_a_volume(&error) && disk.list(&dir)?.is_empty() => Ok(()),
            removed => gone(removed),
        }
    }
}

/// Whether a directory that holds nothing of ours could not be removed for what the system keeps in it or has there.
fn of_a_volume(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty)
}

/// Whether `dir` is there. It is the one of `owner`'s ledger then, or empty.
///
/// # Errors
/// It is not, or cannot be told to be.
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

/// Keeps everybody else out of `dir` until the value is dropped.
pub(in crate::log) fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    let file = dir.join(names::LOCK);
    disk.lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_owned(), pid: disk.holder(&file) },
        _ => io_error("lock", dir)(source),
    })
}

/// Whether somebody has `dir` open at this moment. Makes nothing: a directory that is not there is free.
///
/// # Errors
/// Somebody has it open. Whatever else is wrong with it, opening it will say.
pub(crate) fn is_free(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if !disk.list(dir).is_ok_and(|names| names.iter().any(|name| name == names::LOCK)) {
        return Ok(());
    }
    match take_lock(disk, dir) {
        Err(locked @ OpenError::Locked { .. }) => Err(locked),
        _ => Ok(()),
    }
}

/// Wraps a failed call.
pub(crate) fn io_error(op: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { op, path: path.clone(), source }
}

/// What `dir` was made for, and its version. `None`: it does not say.
///
/// # Errors
/// If that is damaged or of a later version, or the system fails.
pub(in crate::log) fn read_identity(disk: &dyn Disk, dir: &Path) -> Result<Option<(Identity, u32)>, OpenError> {
    let (file, newest) = (dir.join(names::IDENTITY), (&MAGIC, DIRECTORY_VERSION));
    match disk.read(&file) {
        Ok(bytes) => unseal_until(&file, newest, &bytes, "identity", "what the directory was made for").map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &file)(error)),
    }
}

/// What a sealed metadata file holds: `what`, where `expected` is.
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
