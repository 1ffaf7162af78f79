//! The status of one ledger on one node.

use std::time::Duration;

use super::{ClusterName, Group, Incarnation, Member, NodeId, Role};

/// What a node knows of a ledger at one moment. `first ≤ committed ≤ end` and `durable ≤ end`; `committed ≤ durable`
/// need not hold on one node. The same from the node itself ([`Ledger::status`](crate::Ledger::status)) and from afar
/// ([`Client::status`](crate::Client::status)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The node's cluster.
    pub cluster: ClusterName,
    /// Incarnation of the cluster: made when it was formed, and the same on all its nodes for ever. Nodes that name
    /// different ones are not of one cluster, whatever its name. `None` before there is a membership, and in a cluster
    /// that was formed by a version that made none.
    pub cluster_incarnation: Option<Incarnation>,
    /// The ledger.
    pub group: Group,
    /// The node.
    pub node: NodeId,
    /// What the node is.
    pub role: Role,
    /// Current term.
    pub term: u64,
    /// The master, if known; the node itself when it is.
    pub master: Option<Member>,
    /// Lowest index still stored.
    pub first: u64,
    /// Index after the last record known to be committed.
    pub committed: u64,
    /// Index after the last record fsynced on this node.
    pub durable: u64,
    /// Index after the last stored record.
    pub end: u64,
    /// Position after the last committed entry.
    pub committed_position: u64,
    /// Chain value of the last committed entry. Two replicas with the same committed position and chain value hold
    /// the same bytes up to there.
    pub committed_chain: u32,
    /// Why the node could not make another segment file when it last tried. Once the present file is full it takes no
    /// records: as master it refuses appends, as slave it falls behind.
    pub disk_full: Option<String>,
    /// What an operator should look into, one line each. On any node: that its disk hangs, while it does. On the
    /// master: a member that had less than it had acknowledged, which with
    /// [`Durability::Sync`](crate::Durability::Sync) means that its disk was lost or set back.
    pub alarm: Option<String>,
    /// What an ack means on this node: `sync`, or `interval:10ms`. Must be the same on all nodes. `None` where the
    /// ledger could not be opened.
    pub durability: Option<String>,
    /// Why there is no master, as far as this node can tell, for whom it waits, and what to do. `None` while there is
    /// one, and for the first moments of an election.
    pub waiting: Option<String>,
    /// What is known of the sealed segments. Nothing, where a node of an older version was asked from afar.
    pub scrub: ScrubStatus,
    /// All members.
    pub members: Vec<MemberStatus>,
}

/// What reading all sealed segments has found so far, in this life of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubStatus {
    /// Passes over all sealed segments that the node completed.
    pub passes: u64,
    /// When the last of these passes ended, milliseconds since 1970.
    pub last_pass: Option<u64>,
    /// How often a pass or a reader found a segment to be damaged.
    pub found: u64,
    /// How often the node repaired a damaged segment.
    pub repaired: u64,
    /// Positions of the damage that is there now, one in each damaged segment.
    pub damaged: Vec<u64>,
}

/// One member as the membership names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id, address and disk.
    pub member: Member,
    /// False for a learner.
    pub voter: bool,
}

/// One member, and how far it is as the master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberProgress {
    /// Its id, address and disk.
    pub member: Member,
    /// False for a learner.
    pub voter: bool,
    /// Index after the last record that the master knows it to have; `None` on a slave, and before the member's first
    /// answer.
    pub end: Option<u64>,
    /// Entries of the master's log that the master does not know it to have.
    pub behind: Option<u64>,
    /// How long ago the master sent the newest append that the member answered; `None` before its first answer.
    pub heard: Option<Duration>,
    /// Set if the member had less than it had acknowledged to this master. Says so, and whether it has caught up again.
    pub alarm: Option<String>,
}
