//! One line of a history.

use serde::{Deserialize, Serialize};

use crate::Hash;
use dledger::Consistency;

/// The version of the format, in [`Begin::format`].
pub const FORMAT: u32 = 1;

/// One line: `{"at": NANOSECONDS, "event": "…", …}`. Read back, it must have all its fields and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Nanoseconds on one monotonic clock that all who write into this history share. Of two events of the same moment
    /// neither came first.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first line.
    Begin(Begin),
    /// A client calls.
    Invoke {
        /// Who calls. A client has one call under way at a time, unless it appends in a session.
        client: u64,
        /// Number of the call, unique in the history.
        op: u64,
        /// What it asks for.
        #[serde(flatten)]
        call: Call,
    },
    /// The call was answered, and the answer holds.
    Ok {
        /// Which call.
        op: u64,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
    },
    /// The call had no effect and never will.
    Fail {
        /// Which call.
        op: u64,
        /// Why.
        error: String,
    },
    /// The call may have had its effect, may have it later, or never. A call without an end counts as one of these.
    Unknown {
        /// Which call.
        op: u64,
        /// Why nobody can say.
        error: String,
    },
    /// A tail delivered records; its call goes on.
    Seen {
        /// Which call.
        op: u64,
        /// In the order they came.
        records: Vec<Item>,
    },
    /// What a node said of itself.
    Status(NodeStatusEvent),
    /// What was done to the nodes, and what proves it.
    Fault(FaultEvent),
    /// What a replica held after everything; the records may be spread over several such lines.
    Replica(Replica),
    /// For people.
    Note {
        /// What is worth knowing.
        text: String,
    },
}

/// What a history is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begin {
    /// [`FORMAT`].
    pub format: u32,
    /// What ran: a scenario, a deployment.
    pub run: String,
    /// What determines what was left to chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The command that runs it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// The names of the nodes that are there in the beginning.
    pub nodes: Vec<String>,
    /// Whether nodes may remove old records by themselves: then a replica may begin above index 0 without having been
    /// asked to.
    pub retention: bool,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// Records, side by side in the log or not there at all. No two records of a history are equal.
    Append {
        /// Their bodies.
        records: Vec<Hash>,
        /// Appends of one session that are acknowledged lie in the log in the order they were called, whenever they
        /// were answered. One of unknown outcome may come late.
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
    },
    /// One record.
    Get {
        /// Which one.
        index: u64,
        /// What is promised.
        consistency: Consistency,
        /// The node that was asked; none if the client asked the leader, whichever node that was.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Records from an index on.
    Read {
        /// The first one.
        from: u64,
        /// At most this number.
        count: u64,
        /// What is promised.
        consistency: Consistency,
        /// The node that was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Records from an index on, as they come. Promises what [`Consistency::Local`] does.
    Tail {
        /// The first one.
        from: u64,
        /// The node that was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// A change of the membership.
    Members {
        /// Which one, for people.
        change: String,
    },
    /// Another master.
    Transfer {
        /// Who.
        to: String,
    },
    /// A node is to remove records.
    RemoveBelow {
        /// Below this index.
        index: u64,
        /// Which node.
        node: String,
    },
}

/// What a call was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The records are in the log.
    Acked {
        /// Where, one for each record of the call.
        acks: Vec<Acked>,
    },
    /// Records of the log, in their order and without holes. What ends a tail has none.
    Found {
        /// Which ones.
        records: Vec<Item>,
    },
    /// Nothing is at that index yet.
    Absent {
        /// The lowest such index that was asked for.
        index: u64,
    },
    /// What was asked for has been removed.
    Removed {
        /// The first index that is still there.
        first: u64,
    },
    /// It is done.
    Done,
}

/// Where an appended record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acked {
    /// Its index.
    pub index: u64,
    /// Its position.
    pub position: u64,
    /// The term of its entry.
    pub term: u64,
}

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its index.
    pub index: u64,
    /// Its position.
    pub position: u64,
    /// The term of its entry.
    pub term: u64,
    /// Of its body.
    pub hash: Hash,
}

/// What a node said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatusEvent {
    /// Its name.
    pub node: String,
    /// Which life of its process it is in, counted from 1; what is only in memory may fall from one to the next.
    pub start: u64,
    /// `master`, `slave`, `candidate`, `learner`, `closed` …: the names of [`dledger::Role`].
    pub role: String,
    /// Its term.
    pub term: u64,
    /// Lowest index it stores.
    pub first: u64,
    /// Index after the last record it fsynced.
    pub durable: u64,
    /// Index after the last record it knows to be committed.
    pub committed: u64,
    /// Index after the last record it has.
    pub end: u64,
    /// The chain value of the last committed entry, and the position after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainAt>,
}

/// A checksum of all bytes of a ledger up to a position: equal on all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainAt {
    /// A position.
    pub position: u64,
    /// The chain value of the entry that ends there.
    pub value: u32,
}

/// What was done to the nodes. A fault counts only if it was installed, observed and removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultEvent {
    /// Number of the fault, unique in the history.
    pub fault: u64,
    /// Which one: `kill`, `pause`, `partition` …
    pub kind: String,
    /// To whom.
    pub nodes: Vec<String>,
    /// How far it is.
    pub phase: FaultPhase,
    /// What shows it: dropped packets counted, the error returned, the leader was in the minority.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

/// How far a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPhase {
    /// It is there from now on.
    Installed,
    /// It did something: [`FaultEvent::evidence`] says what. May stand more than once.
    Observed,
    /// It is gone.
    Removed,
}

/// What a replica held after everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// Whose.
    pub node: String,
    /// The first index it holds.
    pub first: u64,
    /// The index after the last committed record.
    pub end: u64,
    /// Checksum of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainAt>,
    /// Some of its records; all lines of a node together have all of them, in order.
    pub records: Vec<Item>,
}
