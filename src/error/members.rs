//! Changes of the membership and of the leadership that did not happen.

use std::time::Duration;

use super::master::known;
use crate::types::{Member, NodeId, Span};

/// The membership was not changed, or the leadership not handed over. The caller may repeat any of these calls: a
/// repeated call takes what has already happened as done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Only the master changes the members, and this node is not the master.
    #[error("this node is not the master ({}): ask there", known(master))]
    NotMaster {
        /// The master, if known.
        master: Option<Member>,
    },
    /// There is no such member.
    #[error("{id} is not a member: the members are {members}")]
    UnknownMember {
        /// The id asked for.
        id: NodeId,
        /// The ids of the members.
        members: String,
    },
    /// A learner cannot do what was asked of it.
    #[error("{id} is a learner: promote it first")]
    Learner {
        /// The learner.
        id: NodeId,
    },
    /// Nobody usable answers at the address.
    #[error("the node at {address} cannot be taken: {reason}")]
    Unfit {
        /// `host:port`.
        address: String,
        /// What was found, and what to do.
        reason: String,
    },
    /// Another disk is a member under this id.
    #[error(
        "{id} is a member with the disk {known} at {address}, and the node has the disk {found}: a disk that was wiped \
         or made anew comes back with `members replace`"
    )]
    OtherDisk {
        /// The id.
        id: NodeId,
        /// The disk that the membership names.
        known: String,
        /// Where that member is.
        address: String,
        /// The disk that was found.
        found: String,
    },
    /// After the change, the voters that answer would be no quorum.
    #[error(
        "of the {voters} voters there would be only {alive} answer, and {needed} are needed: nothing could be appended \
         or changed any more. Bring others back first: {missing}"
    )]
    QuorumAtRisk {
        /// Voters after the change.
        voters: usize,
        /// Those of them that have answered lately.
        alive: usize,
        /// How many make a quorum.
        needed: usize,
        /// The voters that have not answered lately, with their addresses.
        missing: String,
    },
    /// The quorum does not answer this node, which leads and is therefore no master any more. Nothing was changed.
    #[error(
        "no quorum answers this node, which leads: {missing} must come back first. If they are lost for good, see \
         `dledger recover`"
    )]
    NoQuorum {
        /// The voters that do not answer, with their addresses.
        missing: String,
        /// How long this call has waited.
        waited: Duration,
    },
    /// The member is too far behind for what was asked of it.
    #[error(
        "{id} is {behind} entries behind after {}: wait until it has caught up, and ask again",
        Span(*waited)
    )]
    Behind {
        /// The member.
        id: NodeId,
        /// Entries it lacks.
        behind: u64,
        /// How long the call waited for it.
        waited: Duration,
    },
    /// Another change is under way, or one came in between.
    #[error("another change of the membership is under way: look at the members, and ask again")]
    InProgress,
    /// It is not known whether the change will happen.
    #[error("the outcome is unknown ({reason}): look at the members before asking again")]
    Unknown {
        /// Why the outcome is not known.
        reason: String,
    },
    /// The ledger is closed on this node.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// What closed it.
        reason: String,
    },
}
