//! What must hold in every history.

use std::fmt;

use serde::{Serialize, Serializer};

/// What must hold in every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// An acknowledged record is in the log in the end, at its index and position, in its term, with its bytes.
    Acked,
    /// What was read or tailed is in the log in the end, the same: nobody sees what is not committed.
    Read,
    /// What a node called committed is in the log in the end; what was durable on it too, in its own replica.
    Committed,
    /// Replicas hold the same record at the same index.
    Replicas,
    /// Where a record has been removed meanwhile, all who saw it saw the same.
    Removed,
    /// Every record of the log was appended by somebody.
    Phantom,
    /// A record is in the log once.
    Twice,
    /// A record of an append that failed is not in the log.
    Failed,
    /// Indexes have no holes: replicas, reads and tails hold record after record, from where they were to begin.
    Dense,
    /// A record lies behind the one before: its position is higher.
    Position,
    /// The term of a record is not lower than that of the one before.
    Term,
    /// Records of one append lie side by side in its order, or none of them is there.
    Batch,
    /// Acknowledged appends of one session lie in the log in the order they were called.
    Session,
    /// A lease or linearizable read sees what was acknowledged, or seen by any read or tail, before it began; and of
    /// two appends, one that was answered or seen before the other was called lies before it.
    RealTime,
    /// Records are removed only where that was asked for.
    Retention,
    /// Checksums of all bytes up to a position are equal on all nodes.
    Chain,
    /// A term has one master.
    OneMaster,
    /// A node's term never falls, unless its disk was wiped.
    NodeTerm,
    /// On a node, first <= committed <= end and durable <= end.
    Pointers,
    /// What a node knows to be committed never becomes less in one life of its process.
    CommittedFell,
    /// The lowest index a node stores never falls, unless its disk was wiped.
    FirstFell,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Acked,
        Self::Read,
        Self::Committed,
        Self::Replicas,
        Self::Removed,
        Self::Phantom,
        Self::Twice,
        Self::Failed,
        Self::Dense,
        Self::Position,
        Self::Term,
        Self::Batch,
        Self::Session,
        Self::RealTime,
        Self::Retention,
        Self::Chain,
        Self::OneMaster,
        Self::NodeTerm,
        Self::Pointers,
        Self::CommittedFell,
        Self::FirstFell,
    ];

    /// One word for reports and for machines.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Read => "read",
            Self::Committed => "committed",
            Self::Replicas => "replicas",
            Self::Removed => "removed",
            Self::Phantom => "phantom",
            Self::Twice => "twice",
            Self::Failed => "failed",
            Self::Dense => "dense",
            Self::Position => "position",
            Self::Term => "term",
            Self::Batch => "batch",
            Self::Session => "session",
            Self::RealTime => "real-time",
            Self::Retention => "retention",
            Self::Chain => "chain",
            Self::OneMaster => "one-master",
            Self::NodeTerm => "node-term",
            Self::Pointers => "pointers",
            Self::CommittedFell => "committed-fell",
            Self::FirstFell => "first-fell",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl Serialize for Law {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.slug())
    }
}
