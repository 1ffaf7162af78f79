//! Words of retention: how full a disk is, why records went.

/// How full the disk of a ledger is, against the lines its retention draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// At most `check`.
    Calm,
    /// Above `check`: somebody should look at it.
    Filling,
    /// Above `force`: the oldest segments go, however young.
    Forced,
    /// Above `refuse`: no further segment is made.
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

/// Why segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// Their last record is older than `max_age`.
    Age,
    /// All segments together are larger than `max_bytes`.
    Size,
    /// The disk is fuller than `force`.
    DiskForced,
    /// Somebody asked for it ([`Ledger::remove_below`](crate::Ledger::remove_below)).
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

/// What was removed last, in this life of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRemoval {
    /// When, by this node's clock, milliseconds since 1970.
    pub at: u64,
    /// Why; of several segments, why the youngest of them.
    pub reason: RemovalReason,
    /// Index of the first record that stayed.
    pub first: u64,
    /// Segments that went.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}
