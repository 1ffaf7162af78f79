//! The versions of the protocol between nodes.

use crate::format::DIRECTORY_VERSION;

/// Version of the protocol between nodes whose log holds no entry of kind *roll*.
pub(crate) const WIRE_VERSION: u32 = 1;
/// Versions that this node understands. Version 2 has entries of kind *roll*.
pub(crate) const WIRE_VERSIONS: std::ops::RangeInclusive<u32> = WIRE_VERSION..=2;

/// The version of a call by a node whose directory has version `format`. So an older node refuses the call by its
/// version, and never meets an entry that it cannot read.
pub(crate) fn wire_version(format: u32) -> u32 {
    if format < DIRECTORY_VERSION { WIRE_VERSION } else { *WIRE_VERSIONS.end() }
}
