//! The laws of every decoder, as functions of arbitrary bytes: none panics, what is accepted is in bounds, and what is
//! accepted survives encoding. `cargo test` feeds them random bytes and damaged good ones; `tests/fuzz` has the same
//! functions as targets for libFuzzer.
//!
//! A checksum keeps nearly all random bytes away from what is behind it. So every body looks at the bytes as they are
//! and once more with the checksums made right.
//!
//! | file | what it holds |
//! |---|---|
//! | `storage` | what lies on disk, one decoder each |
//! | `segment` | a whole segment through the recovery scan |
//! | `directory` | a whole directory of which one file is anything at all |
//! | `peers` | messages between nodes |
//! | `clients` | messages between nodes and clients |
//! | `checksums` | makes checksums right, by `docs/format.md` and not by the code |
//! | `seeds` | good bytes to begin with |

#![allow(clippy::expect_used, clippy::panic, reason = "a law that is broken fails its test")]

mod checksums;
mod clients;
mod directory;
mod peers;
mod seeds;
mod segment;
mod storage;
#[cfg(test)]
mod tests;

pub use clients::{failure, record, refusal, status};
pub use directory::directory;
pub use peers::{
    append_request, append_response, heartbeats_request, heartbeats_response, membership, read_index_request,
    read_index_response, snapshot, transfer_request, transfer_response, vote_request, vote_response,
};
pub use segment::segment;
pub use storage::{batch, blank, commit_slot, entry, frame, identity, index, segment_header, start, vote_slot};

/// A decoder to feed bytes to.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the target in `tests/fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Looks at any bytes.
    ///
    /// # Panics
    /// If a law is broken.
    pub body: fn(&[u8]),
    /// Bytes that it accepts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        &[$(Target { name: stringify!($name), body: $name, seeds: seeds::$name }),*]
    };
}

/// All of them.
pub const TARGETS: &[Target] = targets![
    entry,
    batch,
    frame,
    segment_header,
    blank,
    index,
    vote_slot,
    commit_slot,
    identity,
    start,
    segment,
    directory,
    vote_request,
    vote_response,
    append_request,
    append_response,
    heartbeats_request,
    heartbeats_response,
    transfer_request,
    transfer_response,
    read_index_request,
    read_index_response,
    membership,
    snapshot,
    refusal,
    failure,
    record,
    status,
];

/// Holds `law` to the bytes as they are, and as they are once their checksums have been made right.
fn both(bytes: &[u8], repair: impl FnOnce(&mut [u8]), law: impl Fn(&[u8])) {
    law(bytes);
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    law(&repaired);
}
