//! What the bytes mean: pure functions, no I/O. `docs/format.md` is the same in pictures.
//!
//! All integers are little-endian. Offsets are constants, checked when the crate is compiled.
//!
//! | file | what it is |
//! |---|---|
//! | [`entry`] | the header in front of every entry, and the chain of checksums |
//! | [`frame`] | a whole entry: header, body, padding |
//! | [`batch`] | the body of a batch: records with O(1) access |
//! | [`roll`] | where an entry has its place |
//! | [`segment`] | the header at the start of a segment file, and the blank that fills what an entry would not fit in |
//! | [`index`] | the rebuildable cache of where a sealed segment's entries are |
//! | [`hard_state`] | the slots that hold the vote and the node's own commit point |
//! | [`fields`] | little-endian fields at known offsets |
//! | [`sealed`] | a checksummed envelope for small metadata files |

pub(crate) mod batch;
pub(crate) mod entry;
mod fields;
pub(crate) mod frame;
pub(crate) mod hard_state;
pub(crate) mod index;
pub(crate) mod roll;
pub(crate) mod sealed;
pub(crate) mod segment;

/// Version of the layouts: of `start`, the hard state, segment headers and index files.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Version, in its `identity`, of a directory that may hold an entry of kind *roll*. A directory that never held one is
/// of version 1, and older programs open it.
pub(crate) const DIRECTORY_VERSION: u32 = 2;

/// Every entry, blank and segment header begins at a multiple of this.
pub(crate) const ALIGNMENT: usize = 8;

/// `length` rounded up to [`ALIGNMENT`].
pub(crate) const fn aligned(length: usize) -> usize {
    length.div_ceil(ALIGNMENT) * ALIGNMENT
}
