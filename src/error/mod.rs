//! One error type per operation. Each says what was found, what was expected and what to do.

mod hosting;
mod master;
mod members;
mod mismatch;
mod read;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::master::NoMasterError;
pub use self::members::MemberError;
pub use self::mismatch::Mismatch;
pub use self::read::ReadError;
use crate::config::ConfigError;
use crate::types::{Group, Member, NodeId, PeersError, Span};

pub use hosting::{CreateLedgerError, LedgerError, RemoveLedgerError};

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configuration value is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The peer list is not usable.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The listening address cannot be had.
    #[error("cannot listen on {address}: {source}. Stop what holds the port, or choose another address")]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The ledger has no membership yet, and nothing says which cluster the node is of. Nothing was made.
    #[error(
        "node {node} is told of no cluster for ledger {group}, which has no membership yet{}. Name {} nodes it is \
         formed of (--peers, NodeBuilder::peers), have it join a cluster that exists (--join, NodeBuilder::join), \
         or ask for a cluster of this node alone (--single, NodeBuilder::single)",
        not_enough(*listed),
        if *listed { "all" } else { "the" },
    )]
    NoCluster {
        /// The node.
        node: NodeId,
        /// The ledger.
        group: Group,
        /// Whether there is a peer list, of this node alone.
        listed: bool,
    },
    /// A group's directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A group's directory is damaged, and could not be repaired from the peers.
    #[error("{damage}; {error}")]
    Unrepaired {
        /// What is damaged.
        damage: Box<Damage>,
        /// Why it could not be repaired.
        error: RepairError,
    },
    /// None of several ledgers can be opened. Of one that can, the others are none's business: they stay closed.
    #[error("none of the ledgers can be opened: {}", reasons(failed))]
    Ledgers {
        /// Each of them, and why.
        failed: Vec<(Group, StartError)>,
    },
    /// Raft refused to start on what it found.
    #[error("ledger {group} cannot start: {reason}")]
    Raft {
        /// The ledger.
        group: Group,
        /// What it said.
        reason: String,
    },
}

fn not_enough(listed: bool) -> &'static str {
    match listed {
        true => ": a peer list of this node alone is not enough, for it may be what is left of a longer one",
        false => "",
    }
}

fn reasons(failed: &[(Group, StartError)]) -> String {
    failed.iter().map(|(group, error)| format!("{group}: {error}")).collect::<Vec<_>>().join("; ")
}

/// A damaged directory could not be repaired. What was there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The directory cannot be looked at, or what is damaged is not to be had from anybody: a vote, for example.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What a peer sent does not continue this log.
    #[error("what it sent does not fit: {0}")]
    Differs(Mismatch),
    /// The peer does not know yet what is committed where the damage is.
    #[error(
        "it has committed {committed} entries, and what is committed at position {position} (index {index}) is not \
         settled yet: try again when a master has committed more"
    )]
    NotSettled {
        /// Where the damage is.
        position: u64,
        /// Index of the first record there.
        index: u64,
        /// How many entries the peer has committed.
        committed: u64,
    },
    /// The new file of a segment does not hold what was written to it.
    #[error("{} was written and does not hold what it should ({found}): check the disk", file.display())]
    Unverified {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: String,
    },
    /// No peer could help.
    #[error("no peer could repair it: {}", said(peers))]
    NoPeer {
        /// What each said last: its address, and why it could not.
        peers: Vec<(String, String)>,
    },
}

fn absent(waiting: Option<&String>) -> &str {
    waiting.map_or("check that a quorum of the members is up and reachable", String::as_str)
}

fn said(peers: &[(String, String)]) -> String {
    if peers.is_empty() {
        return "there is none".into();
    }
    peers.iter().map(|(peer, why)| format!("{peer}: {why}")).collect::<Vec<_>>().join("; ")
}

/// Who has a directory open.
pub(crate) fn user(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => "this process (a Node of it still runs, or was not shut down)".into(),
        Some(pid) => format!("another process (pid {pid})"),
        None => "another process".into(),
    }
}

/// A ledger's directory could not be opened. Nothing of the log was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another node of this one, has it open.
    #[error("{} is in use by {}: stop it, or use another directory", dir.display(), user(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process, if the system tells: it does not if that runs in another container, or on another machine.
        pid: Option<u32>,
    },
    /// The directory was made for something else.
    #[error(
        "{} belongs to {} {}, not {}: use its own directory, or correct the configuration",
        dir.display(),
        mismatch.what,
        mismatch.found,
        mismatch.expected
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Cluster, group, node or segment size: as the directory says, and as the configuration says.
        mismatch: Mismatch,
    },
    /// The directory has a format version this program does not know.
    #[error(
        "{} has format version {found}, this program reads {supported}: use a program that knows it",
        file.display()
    )]
    Version {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// Something is there that this crate did not put there.
    #[error("{} is not part of a ledger ({why}): remove it, or use another directory", path.display())]
    Unexpected {
        /// The path.
        path: PathBuf,
        /// Why it does not belong.
        why: String,
    },
    /// Stored bytes are damaged where they may be committed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The system failed a call.
    #[error("cannot {op} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What can be done where the system refused.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => ". Run it as the user the directory belongs to",
        io::ErrorKind::ReadOnlyFilesystem => ". Mount it so that it can be written to, or work on a copy",
        io::ErrorKind::NotFound => ". Check the path",
        _ => "",
    }
}

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

/// What others do not have is not to be had from them.
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

/// What is known of the records of a failed append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They are not in the log and never will be: safe to append again.
    Refused,
    /// They may or may not be in the log: appending again may write them twice.
    Unknown,
}

/// An append did not end with an ack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Refused: another node is the master.
    #[error("this node is not the master ({}): append there", known(master))]
    NotMaster {
        /// The master, if known.
        master: Option<Member>,
    },
    /// Refused: the leadership under which they were to be appended is over.
    #[error("the leadership of term {term} is over: decide again as master of another term, or leave it to the master")]
    TermOver {
        /// The term.
        term: u64,
    },
    /// Refused: no master took the records up within the deadline: there was none, or it had too much to do.
    #[error(
        "no master took the records up within {}: {}. Then append again",
        Span(*waited),
        absent(waiting.as_ref())
    )]
    NoMaster {
        /// How long the append waited.
        waited: Duration,
        /// Why there is none, as far as the node can tell, and what to do.
        waiting: Option<String>,
    },
    /// Refused: over the limit.
    #[error("{what} of {size} bytes is over the limit of {limit}: split it, or raise the limit on all nodes")]
    TooLarge {
        /// Record or batch.
        what: &'static str,
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// Refused: a batch without records has no index.
    #[error("the batch is empty: append at least one record")]
    EmptyBatch,
    /// Refused: too many bytes are in flight; at once by [`try_submit`](crate::Ledger::try_submit), after its timeout
    /// by the others.
    #[error("{inflight_limit} bytes are in flight already: append again later, or use the waiting append")]
    Busy {
        /// The limit, bytes.
        inflight_limit: usize,
    },
    /// Refused: the master's disk has no room for another segment file, and there is none left in those it has. Reads,
    /// votes and the membership go on; appends are taken again as soon as there is room, without a restart.
    #[error(
        "the disk of the master is full ({reason}): free space on it, remove old records, or have a node lead that has \
         room (`dledger transfer`), then append again"
    )]
    DiskFull {
        /// What there is no room for, and what the system said.
        reason: String,
    },
    /// Refused: the master's process has no descriptor or no memory mapping left for another segment, and there is no
    /// room in those it has; nothing is wrong with its disk. Appends are taken again, without a restart, when it has.
    #[error(
        "the master's process can open or map no further file ({reason}): raise its limit of open files (ulimit -n) or \
         vm.max_map_count, or close what uses them up, then append again"
    )]
    Exhausted {
        /// What is missing, and what the system said.
        reason: String,
    },
    /// Refused: the ledger is closed on this node, and was before the records reached it.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// The first reason.
        reason: String,
    },
    /// Unknown: the records may be in the log.
    #[error("the outcome is unknown ({reason}): look for the records before appending them again")]
    Unknown {
        /// Why it is not known.
        reason: String,
    },
}

fn known(master: &Option<Member>) -> String {
    match master {
        Some(m) => format!("{} at {} is", m.id, m.address),
        None => "none is known".into(),
    }
}

impl AppendError {
    /// Whether the records can be in the log.
    pub fn outcome(&self) -> Outcome {
        match self {
            AppendError::Unknown { .. } => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }
}

/// Records were not removed. Those that were to go may be there still, all of them; nothing else is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The index is above what this node knows to be committed.
    #[error(
        "cannot remove what is below index {index}: this node has committed up to {committed}. Name that one at most"
    )]
    NotCommitted {
        /// The index that was named.
        index: u64,
        /// Index after the last committed record.
        committed: u64,
    },
    /// It was not done in time: this node is the master and other nodes are still being sent what is to go, or it is
    /// very slow. It may yet be done.
    #[error("not removed within {}: it is in use, or the node is very slow. Try again", Span(*waited))]
    Busy {
        /// How long it was waited for at most.
        waited: Duration,
    },
    /// An entry where the log is to begin cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The ledger is closed on this node.
    #[error("the ledger is closed on this node: {reason}")]
    Closed {
        /// The first reason.
        reason: String,
    },
}

/// The node hosts no such group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown group {group}: this node hosts {hosted}")]
pub struct UnknownGroup {
    /// The group asked for.
    pub group: String,
    /// The groups there are.
    pub hosted: String,
}
