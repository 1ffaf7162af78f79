//! Words of retention: how full a disk is, why records were removed.

/// How full the disk of a ledger is, compared with the limits of its [`Retention`](crate::Retention).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// At most `check`.
    Calm,
    /// Above `check`: an operator should look at it.
    Filling,
    /// Above `force`: retention removes the oldest segments, however young.
    Forced,
    /// Above `refuse`: the ledger makes no further segment.
    Refusing,
}

impl DiskLevel {
    /// `calm`, `filling`, `forced` or `refusing`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Filling => "filling",
            Self::Forced => "forced",
            Self::Refusing => "refusing",
        }
    }
}

/// Why segments were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// Their last record is older than `max_age`.
    Age,
    /// All segments together are larger than `max_bytes`.
    Size,
    /// The disk is fuller than `force`.
    DiskForced,
    /// An operator asked for it ([`Ledger::remove_below`](crate::Ledger::remove_below)).
    Asked,
}

impl RemovalReason {
    /// `age`, `size`, `disk` or `asked`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::DiskForced => "disk",
            Self::Asked => "asked",
        }
    }
}

/// The last removal since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRemoval {
    /// When, by this node's clock, milliseconds since 1970.
    pub at: u64,
    /// Why; of several segments, why the youngest was removed.
    pub reason: RemovalReason,
    /// Index of the first record that stayed.
    pub first: u64,
    /// Segments that were removed.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}
