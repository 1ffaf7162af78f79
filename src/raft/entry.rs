//! Payloads and entries.

use std::fmt;
use std::sync::Arc;

use openraft::entry::{RaftEntry, RaftPayload};

use super::append::inflight::InflightBatch;
use super::membership::codec::{self, MemberNode, MembersError, Membership};
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::frame::{Draft, Frame};
use crate::raft::log_id::{CommittedLeaderId, LogId, log_id};
use crate::types::NodeId;

/// A batch, or a roll, handed to Raft: its bytes, and the appends that wait for it.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) draft: Draft,
    pub(crate) inflight: Arc<InflightBatch>,
}

/// What a new entry is to hold.
#[derive(Debug)]
pub(crate) enum Payload {
    Blank,
    Membership(Membership),
    Batch(Proposed),
}

/// A Raft log entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    id: LogId,
    membership: Option<Membership>,
    pub(crate) content: Content,
}

/// Where an entry's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Proposed on this node, not written yet.
    New(Arc<NewEntry>),
    /// From the log or from the leader: the bytes as they are stored everywhere.
    Stored(Frame),
    /// Only what kind of entry it is: applying needs no more.
    Header(EntryKind),
}

/// A proposed entry before it has its place. The log tells `inflight` the place.
#[derive(Debug)]
pub(crate) struct NewEntry {
    pub(crate) draft: Draft,
    pub(crate) inflight: Option<Arc<InflightBatch>>,
}

impl Entry {
    /// An entry as stored. Decodes the membership if it is one.
    ///
    /// # Errors
    /// If it is a membership that cannot be read.
    pub(crate) fn stored(frame: Frame) -> Result<Self, MembersError> {
        let membership = match frame.header.kind {
            EntryKind::Membership => Some(codec::decode(&frame.body())?),
            EntryKind::Blank | EntryKind::Batch | EntryKind::Roll => None,
        };
        let id = log_id(frame.header.term, frame.header.number);
        Ok(Self { id, membership, content: Content::Stored(frame) })
    }

    /// An entry without its bytes.
    pub(crate) fn header(header: &EntryHeader) -> Self {
        Self { id: log_id(header.term, header.number), membership: None, content: Content::Header(header.kind) }
    }

    /// Its number in the Raft log.
    pub(crate) fn number(&self) -> u64 {
        self.id.index
    }

    /// Its log id.
    pub(crate) fn id(&self) -> LogId {
        self.id
    }
}

impl RaftPayload for Payload {
    type D = Proposed;
    type NodeId = NodeId;
    type Node = MemberNode;

    fn blank() -> Self {
        Payload::Blank
    }

    fn with_normal(self, batch: Proposed) -> Self {
        Payload::Batch(batch)
    }

    fn with_membership(self, membership: Membership) -> Self {
        Payload::Membership(membership)
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Payload::Membership(membership) => Some(membership.clone()),
            Payload::Blank | Payload::Batch(_) => None,
        }
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = CommittedLeaderId;
    type Payload = Payload;

    fn new(id: LogId, payload: Payload) -> Self {
        let membership = payload.get_membership();
        let new = match payload {
            Payload::Blank => NewEntry { draft: Draft::control(EntryKind::Blank, b""), inflight: None },
            Payload::Membership(membership) => {
                let draft = Draft::control(EntryKind::Membership, &codec::encode(&membership));
                NewEntry { draft, inflight: None }
            }
            Payload::Batch(Proposed { draft, inflight }) => NewEntry { draft, inflight: Some(inflight) },
        };
        Self { id, membership, content: Content::New(Arc::new(new)) }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId, u64) {
        (&self.id.leader_id, self.id.index)
    }

    fn set_log_id(&mut self, id: LogId) {
        self.id = id;
    }

    fn get_membership(&self) -> Option<Membership> {
        self.membership.clone()
    }
}

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.draft.kind {
            EntryKind::Roll => f.write_str("roll"),
            _ => write!(f, "batch of {} records", self.draft.records),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Blank => f.write_str("blank"),
            Payload::Membership(membership) => write!(f, "membership {membership}"),
            Payload::Batch(batch) => batch.fmt(f),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.content {
            Content::New(new) => new.draft.kind,
            Content::Stored(frame) => frame.header.kind,
            Content::Header(kind) => *kind,
        };
        write!(f, "{} {kind:?}", self.id)
    }
}
