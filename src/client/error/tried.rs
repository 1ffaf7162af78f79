//! The nodes that a call was tried at in vain, what each said, and what to do about it.

use std::fmt;

/// A node that was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedNode {
    /// `host:port`.
    pub address: String,
    /// What the node last said while the call was waiting, or why it was not heard.
    pub reason: String,
    /// The same, for programs to match on.
    pub problem: NodeProblem,
}

/// What was wrong at a node that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NodeProblem {
    /// The ledger is closed there, or stopped.
    Closed,
    /// It has no room for the connection, the stream or the bytes.
    Crowded,
    /// Its disk is full, or its process can open or map no further file.
    Full,
    /// It hosts no such ledger.
    WrongGroup,
    /// It is of another cluster.
    WrongCluster,
    /// It knows of no master.
    NoMaster,
    /// It is a slave, or no member any more.
    NotMaster,
    /// It says that it is the master, and yet did not serve the call.
    Master,
    /// It refused for another reason.
    Refused,
    /// Nothing answers at the address, or not in time.
    Silent,
    /// A member that is not in the peer list, and that the client did not ask.
    NotAsked,
}

impl TriedNode {
    /// Whether the node itself answered.
    pub fn has_answered(&self) -> bool {
        !matches!(self.problem, NodeProblem::Silent | NodeProblem::NotAsked)
    }
}

impl NodeProblem {
    /// What a role says of the node, by [`Role::name`](crate::Role::name).
    pub(crate) fn of_role(role: &str) -> Self {
        match role {
            "master" => Self::Master,
            "electing" => Self::NoMaster,
            "closed" | "stopped" => Self::Closed,
            _ => Self::NotMaster,
        }
    }

    /// What to do about it. `answered`: whether any node did.
    fn remedy(self, answered: bool) -> Option<&'static str> {
        match self {
            Self::Closed => Some("see to what closed the ledger there, or start the node again"),
            Self::Crowded => Some("try again when there is less to do, or let the node have more clients"),
            Self::Full => Some("free space there"),
            Self::WrongGroup => Some("name a group that is hosted there"),
            Self::WrongCluster => Some("take the nodes of other clusters off the peer list"),
            Self::NoMaster => Some("check that a quorum of the members is up"),
            Self::Master => Some("read the log of the node that says it is master"),
            Self::Silent if answered => Some("check that the silent ones run"),
            Self::Silent => Some("check the addresses and that the nodes run"),
            Self::NotMaster | Self::Refused | Self::NotAsked => None,
        }
    }
}

/// Each node with what it said.
pub(crate) struct List<'a>(pub(super) &'a [TriedNode]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none was tried");
        }
        for (i, tried) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{}: {}", tried.address, tried.reason)?;
        }
        Ok(())
    }
}

/// What to do, for each thing that is wrong.
pub(crate) struct Remedies<'a>(pub(super) &'a [TriedNode]);

impl fmt::Display for Remedies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.0.iter().any(TriedNode::has_answered);
        let mut problems: Vec<_> = self.0.iter().map(|tried| tried.problem).collect();
        problems.sort_unstable();
        problems.dedup();
        let mut remedies: Vec<_> = problems.into_iter().filter_map(|problem| problem.remedy(answered)).collect();
        if remedies.is_empty() {
            remedies.push("check that a quorum of the members is up, and give it longer");
        }
        f.write_str(&remedies.join("; "))
    }
}
