//! What becomes of the files of a ledger that is no longer hosted.

/// What becomes of the files of a ledger that is no longer hosted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LedgerFiles {
    /// They stay: a ledger that is created again goes on where it was.
    #[default]
    Keep,
    /// They are deleted, with every record in them. What other nodes have of the ledger is not touched.
    Delete,
}
