//! Damage to files of nodes that are stopped.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Active, Error, Result, Shared};

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Which file.
    pub file: PathBuf,
    /// Which bytes of it.
    pub bytes: Range<u64>,
}

/// What is done to a file.
#[derive(Debug, Clone)]
pub enum Damage {
    /// One bit is turned over in each of these bytes.
    Flip {
        /// Where.
        file: PathBuf,
        /// Which bytes.
        offsets: Vec<u64>,
    },
    /// Every byte of the region becomes another.
    Scramble(Region),
    /// The file ends here.
    Truncate {
        /// Where.
        file: PathBuf,
        /// Its length from now on.
        length: u64,
    },
    /// The file is gone.
    Delete {
        /// Where it was.
        file: PathBuf,
    },
    /// The file is what it was when the copy was made.
    Restore(Snapshot),
}

/// A copy of a file as it once was.
#[derive(Debug, Clone)]
pub struct Snapshot {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// The file as it is now. The node may be running.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        let bytes = std::fs::read(file).map_err(Error::io("read", file))?;
        Ok(Self { file: file.to_owned(), bytes })
    }

    /// Which file it is of.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Damage {
    /// The file it is done to.
    pub fn file(&self) -> &Path {
        match self {
            Self::Flip { file, .. } | Self::Truncate { file, .. } | Self::Delete { file } => file,
            Self::Scramble(region) => &region.file,
            Self::Restore(snapshot) => &snapshot.file,
        }
    }

    /// Does it: what became of the file.
    fn inflict(&self) -> Result<String> {
        let file = self.file();
        let before = match fs::read(file) {
            // A file that is gone can come back old.
            Err(_) if matches!(self, Self::Restore(_)) => Vec::new(),
            read => read.map_err(Error::io("read", file))?,
        };
        let length = before.len() as u64;
        let done = match self {
            Self::Flip { offsets, .. } => {
                let turned = offsets.iter().filter_map(|at| Some((*at, before.get(*at as usize)? ^ (1 << (at % 8)))));
                let turned: Vec<(u64, u8)> = turned.collect();
                overwrite(file, turned.iter().map(|(at, byte)| (*at, vec![*byte])))?;
                format!("a bit turned over at {offsets:?}")
            }
            Self::Scramble(Region { bytes, .. }) => {
                let range = bytes.start.min(length) as usize..bytes.end.min(length) as usize;
                let other: Vec<u8> = before[range].iter().map(|byte| !byte).collect();
                overwrite(file, [(bytes.start, other)].into_iter())?;
                format!("bytes {bytes:?} are others")
            }
            Self::Truncate { length: to, .. } => {
                let open = OpenOptions::new().write(true).open(file).map_err(Error::io("open", file))?;
                open.set_len(*to).and_then(|()| open.sync_all()).map_err(Error::io("truncate", file))?;
                format!("truncated from {length} to {to} bytes")
            }
            Self::Delete { .. } => {
                fs::remove_file(file).map_err(Error::io("delete", file))?;
                format!("deleted, {length} bytes")
            }
            Self::Restore(snapshot) => {
                fs::write(file, &snapshot.bytes).map_err(Error::io("write", file))?;
                format!("an old copy, {} bytes, over {length}", snapshot.bytes.len())
            }
        };
        let after = fs::read(file).ok();
        if after.as_deref() == Some(&*before) {
            return Err(Error::State(format!("{}: the damage changed nothing ({done})", file.display())));
        }
        Ok(format!("{}: {done}", file.display()))
    }
}

fn overwrite(file: &Path, pieces: impl Iterator<Item = (u64, Vec<u8>)>) -> Result<()> {
    let open = OpenOptions::new().write(true).open(file).map_err(Error::io("open", file))?;
    for (at, bytes) in pieces {
        open.write_all_at(&bytes, at).map_err(Error::io("write", file))?;
    }
    open.sync_all().map_err(Error::io("sync", file))
}

/// Files that are damaged.
pub(crate) struct Damaged {
    evidence: Vec<String>,
}

impl Damaged {
    pub(crate) fn install(shared: &Shared, damages: &[Damage]) -> Result<Self> {
        for damage in damages {
            if let Some(id) = shared.owner(damage.file())
                && !shared.processes(id).is_empty()
            {
                return Err(Error::State(format!("node {id} runs: stop it before its files are damaged")));
            }
        }
        let evidence = damages.iter().map(Damage::inflict).collect::<Result<_>>()?;
        Ok(Self { evidence })
    }
}

impl Active for Damaged {
    fn observed(&mut self) -> Result<Option<String>> {
        Ok((!self.evidence.is_empty()).then(|| self.evidence.join("; ")))
    }

    fn remove(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Every region of an identical file damaged on exactly one of the nodes: `file` says where it is on a node, the
/// regions are dealt out in turn.
pub fn helix(nodes: &[u64], regions: &[Range<u64>], file: impl Fn(u64) -> PathBuf) -> Vec<Damage> {
    let dealt = regions.iter().zip(nodes.iter().cycle());
    dealt.map(|(bytes, node)| Damage::Scramble(Region { file: file(*node), bytes: bytes.clone() })).collect()
}
