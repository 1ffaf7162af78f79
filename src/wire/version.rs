//! The versions of the protocol between nodes.

use crate::format::DIRECTORY_VERSION;

/// Version of the protocol between nodes, unless there may be a roll in the caller's log.
pub(crate) const WIRE_VERSION: u32 = 1;
/// Versions that are understood: entries of kind *roll* came with the second.
pub(crate) const WIRE_VERSIONS: std::ops::RangeInclusive<u32> = WIRE_VERSION..=2;

/// The version of a call by a node whose directory is of that version: a node of before refuses it by its number, and
/// never for an entry that it cannot read.
pub(crate) fn wire_version(format: u32) -> u32 {
    if format < DIRECTORY_VERSION { WIRE_VERSION } else { *WIRE_VERSIONS.end() }
}
