//! Records what a member acknowledges on one replication stream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::errors::NetworkError;
use openraft::raft::StreamAppendError;

use super::{AppendOutcome, MemberAnswer};
use crate::log::reader::LogReader;
use crate::raft::Runtime;
use crate::raft::log_id::RaftVote;
use crate::raft::membership::acks::MemberAcks;
use crate::transport::TransportError;
use crate::types::{Incarnation, NodeId};
use crate::wire::pb::refusal::Reason;

/// Sees each answer of one member on one replication stream before openraft does, and keeps [`MemberAcks`] up to date.
pub(in crate::peer) struct AckRecorder {
    acked: MemberAcks,
    leader: RaftVote,
    member: (NodeId, Incarnation),
    /// The member's losses when the stream began.
    losses: u64,
    log: LogReader,
    /// The number behind the last entry that the member has acknowledged; the number behind the last that was sent.
    numbers: (u64, Arc<AtomicU64>),
}

impl AckRecorder {
    pub(in crate::peer) fn new(
        acked: MemberAcks,
        leader: RaftVote,
        member: (NodeId, Incarnation),
        log: LogReader,
        numbers: (u64, Arc<AtomicU64>),
    ) -> Self {
        let losses = acked.losses(member.1);
        Self { acked, leader, member, losses, log, numbers }
    }

    pub(in crate::peer) fn answer<R: Runtime>(&mut self, (end, result): MemberAnswer<R>) -> AppendOutcome<R> {
        let member = (&self.member.0, self.member.1);
        match &result {
            // A heartbeat has shown meanwhile that the member has lost entries: its earlier answers no longer hold.
            Ok(Some(_)) if self.acked.losses(self.member.1) != self.losses => {
                let error = io::Error::other("the member has lost what it acknowledges here: a new stream begins");
                return Err(NetworkError::new(&error).into());
            }
            Ok(Some(matched)) => {
                self.acked.note(&self.leader, member, *matched);
                self.numbers.0 = self.numbers.0.max(matched.index.saturating_add(1));
            }
            Err(StreamAppendError::Conflict(at)) => self.acked.lacks(&self.leader, member, *at, end),
            Ok(None) | Err(StreamAppendError::HigherVote(_)) => {}
        }
        Ok(result)
    }

    /// The stream ends with `error`. This node sends well-formed requests only: if the member calls one malformed, the
    /// entries that were sent are not those that were written, so the log has them checked.
    pub(in crate::peer) fn ended(&self, error: &TransportError) {
        if let TransportError::Refused { refusal, .. } = error
            && refusal.reason() == Reason::Malformed
        {
            self.log.doubt(self.numbers.0..self.numbers.1.load(Ordering::Relaxed));
        }
    }
}
