//! Stored bytes that are not what was written.

use std::path::{Path, PathBuf};

use super::Mismatch;

/// Stored bytes do not hold what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at position {position} (index {index}): {}, found {}, expected {}. {}",
    file.display(),
    mismatch.what,
    mismatch.found,
    mismatch.expected,
    remedy(file)
)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Position in the ledger's address space.
    pub position: u64,
    /// Index of the first record that cannot be had, as far as it is known.
    pub index: u64,
    /// What is there, and what should be.
    pub mismatch: Mismatch,
}

/// What to do about a damaged `file`: no other node has a copy of this node's votes, identity or start.
fn remedy(file: &Path) -> String {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("hard-state" | "identity" | "start") => {
            "Do not delete it: no other node has what is in it. Put a new member in the place of this node".into()
        }
        _ => {
            let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("DIR")).display();
            format!(
                "Do not delete it: get it back from another replica with `dledger log repair {dir} --from HOST:PORT`, \
                 or start the node with `--repair from-peers` (`repair = \"from-peers\"`)"
            )
        }
    }
}
