//! Damage to files of nodes that are stopped.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Error, Result};

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

/// Every region of an identical file damaged on exactly one of the nodes: `file` says where it is on a node, the
/// regions are dealt out in turn.
pub fn helix(nodes: &[u64], regions: &[Range<u64>], file: impl Fn(u64) -> PathBuf) -> Vec<Damage> {
    let dealt = regions.iter().zip(nodes.iter().cycle());
    dealt.map(|(bytes, node)| Damage::Scramble(Region { file: file(*node), bytes: bytes.clone() })).collect()
}
