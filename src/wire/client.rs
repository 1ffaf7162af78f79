//! The client protocol: the crate's types as they travel. The server writes them, the client reads them.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::pb::{self, failure};
use crate::config::MAX_RECORD_BYTES;
use crate::error::{AppendError, LedgerError, MemberError, ReadError, RemoveError, UnknownGroup};
use crate::types::{Consistency, Record};

/// Largest message a client decodes, bytes: it holds a record and what fits beside it, see [`CHUNK_BYTES`], with what
/// frames each. It trusts its nodes; what a node decodes is bounded by its `max_batch_bytes`.
pub(crate) const MAX_MESSAGE: usize = MAX_RECORD_BYTES + (16 << 20);
/// Room in an append request beside the largest batch, bytes: the names in it. What frames the records is counted as
/// part of the batch, with more than the 1 to 5 bytes that it takes on the wire.
pub(crate) const REQUEST_SLACK: usize = crate::config::MESSAGE_SLACK;
/// Header of an append call: how many milliseconds any of its requests may wait to be read. Without it, as long as the
/// node lets an append wait.
pub(crate) const TIMEOUT_HEADER: &str = "dledger-timeout-ms";
/// Most records in one append request: a record that takes 2 bytes on the wire takes 32 in memory.
pub(crate) const MAX_REQUEST_RECORDS: usize = 64 << 10;
/// Bytes that one record takes in a batch besides its own: its length.
pub(crate) const RECORD_OVERHEAD: u64 = 4;
/// Bytes of record bodies in one message of a read; the record that exceeds them is the last.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Most records in one message.
pub(crate) const CHUNK_RECORDS: usize = 4096;
/// Most bytes that frame a record in a message.
const FRAMING: usize = 64;
const _: () = assert!(MAX_RECORD_BYTES + CHUNK_BYTES + CHUNK_RECORDS * FRAMING <= MAX_MESSAGE);
/// Most bytes of a text in a failure: failures travel in HTTP headers, which are small, and may quote what a caller
/// sent.
const MAX_QUOTE: usize = 1024;

impl From<&MemberError> for pb::Failure {
    fn from(error: &MemberError) -> Self {
        match error {
            MemberError::NotMaster { master } => {
                let mut failure = failure(failure::Code::NotMaster, error);
                if let Some(master) = master {
                    (failure.master, failure.master_address) = (master.id.to_string(), master.address.clone());
                }
                failure
            }
            MemberError::Closed { .. } => failure(failure::Code::Closed, error),
            MemberError::NoQuorum { waited, .. } => {
                pb::Failure { found: millis(*waited), ..failure(failure::Code::NoMaster, error) }
            }
            _ => failure(failure::Code::Members, error),
        }
    }
}

impl From<&AppendError> for pb::Failure {
    fn from(error: &AppendError) -> Self {
        let mut failure = failure(failure::Code::Unspecified, error);
        let code = match error {
            AppendError::NotMaster { master } => {
                if let Some(master) = master {
                    failure.master = master.id.to_string();
                    failure.master_address = master.address.clone();
                }
                failure::Code::NotMaster
            }
            AppendError::NoMaster { waited, .. } => {
                failure.found = millis(*waited);
                failure::Code::NoMaster
            }
            AppendError::TooLarge { size, limit, .. } => {
                failure.found = *size as u64;
                failure.limit = *limit as u64;
                failure::Code::TooLarge
            }
            AppendError::TermOver { term } => {
                failure.found = *term;
                failure::Code::Fenced
            }
            AppendError::EmptyBatch => failure::Code::EmptyBatch,
            AppendError::Busy { inflight_limit } => {
                failure.limit = *inflight_limit as u64;
                failure::Code::Busy
            }
            AppendError::DiskFull { reason } => {
                failure.message = quote(reason);
                failure::Code::DiskFull
            }
            AppendError::Exhausted { reason } => {
                failure.message = quote(reason);
                failure::Code::Exhausted
            }
            AppendError::Closed { reason } => {
                failure.message = quote(reason);
                failure::Code::Closed
            }
            AppendError::Unknown { reason } => {
                failure.message = quote(reason);
                failure::Code::UnknownOutcome
            }
        };
        failure.set_code(code);
        failure
    }
}

impl From<&ReadError> for pb::Failure {
    fn from(error: &ReadError) -> Self {
        let mut failure = failure(failure::Code::Unspecified, error);
        let code = match error {
            ReadError::NotYet { index, committed } => {
                (failure.found, failure.committed) = (*index, *committed);
                failure::Code::NotYet
            }
            ReadError::Removed { index, first } => {
                (failure.found, failure.first) = (*index, *first);
                failure::Code::Removed
            }
            ReadError::Damaged(damage) => {
                failure.found = damage.index;
                failure::Code::Damaged
            }
            ReadError::Unconfirmed { consistency, waited, reason } => {
                failure.consistency = pb::Consistency::from(*consistency).into();
                failure.found = millis(*waited);
                failure.message = quote(reason);
                failure::Code::Unconfirmed
            }
            ReadError::NoMember { reason } => {
                failure.message = quote(reason);
                failure::Code::NoMaster
            }
            ReadError::NoRecordAt { position, before, after } => {
                failure.found = *position;
                // 0 stands for none: a segment's header is there, and no record.
                (failure.first, failure.committed) = (before.unwrap_or(0), after.unwrap_or(0));
                failure::Code::NoRecordAt
            }
            ReadError::Closed { reason } => {
                failure.message = quote(reason);
                failure::Code::Closed
            }
        };
        failure.set_code(code);
        failure
    }
}

impl From<&RemoveError> for pb::Failure {
    fn from(error: &RemoveError) -> Self {
        let mut failure = failure(failure::Code::Unspecified, error);
        let code = match error {
            RemoveError::NotCommitted { index, committed } => {
                (failure.found, failure.committed) = (*index, *committed);
                failure::Code::NotYet
            }
            RemoveError::Busy { .. } => failure::Code::Busy,
            RemoveError::Damaged(damage) => {
                failure.found = damage.index;
                failure::Code::Damaged
            }
            RemoveError::Closed { reason } => {
                failure.message = quote(reason);
                failure::Code::Closed
            }
        };
        failure.set_code(code);
        failure
    }
}

impl From<&UnknownGroup> for pb::Failure {
    fn from(error: &UnknownGroup) -> Self {
        failure(failure::Code::UnknownGroup, error)
    }
}

impl From<&LedgerError> for pb::Failure {
    fn from(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unknown(unknown) => unknown.into(),
            LedgerError::Closed { reason, .. } => failure(failure::Code::Closed, reason),
        }
    }
}

/// The failure of a client that asks for another cluster.
pub(crate) fn wrong_cluster(found: &str, own: impl Display) -> pb::Failure {
    let found = quote(found);
    let message =
        format!("the request is for cluster {found}, this node belongs to {own}: correct the address or the cluster");
    failure(failure::Code::WrongCluster, message)
}

/// The failure of an append request that is larger than the node decodes. `limit`: the node's largest batch.
pub(crate) fn oversized(limit: usize) -> pb::Failure {
    let message = format!("an append request is larger than the largest batch of {limit} bytes: split it");
    pb::Failure { limit: limit as u64, ..failure(failure::Code::TooLarge, message) }
}

/// The failure of an append request with too many records.
pub(crate) fn too_many(records: usize) -> pb::Failure {
    let message = format!("{records} records are over the limit of {MAX_REQUEST_RECORDS} per request: split the batch");
    let (found, limit) = (records as u64, MAX_REQUEST_RECORDS as u64);
    pb::Failure { found, limit, ..failure(failure::Code::TooLarge, message) }
}

/// A failure with a message and nothing else.
pub(crate) fn failure(code: failure::Code, message: impl Display) -> pb::Failure {
    pb::Failure { code: code.into(), message: quote(&message.to_string()), ..Default::default() }
}

/// `text`, cut to [`MAX_QUOTE`].
pub(super) fn quote(text: &str) -> String {
    if text.len() <= MAX_QUOTE {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary_compat(MAX_QUOTE)])
}

/// `str::floor_char_boundary` is younger than the oldest compiler this crate builds with.
trait FloorCharBoundary {
    fn floor_char_boundary_compat(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_compat(&self, at: usize) -> usize {
        (0..=at).rev().find(|&at| self.is_char_boundary(at)).unwrap_or(0)
    }
}

/// Whole milliseconds, as durations travel.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The gRPC status that ends a failed call.
pub(crate) fn to_status(failure: &pb::Failure) -> tonic::Status {
    use failure::Code as Failed;
    let code = match failure.code() {
        Failed::NotMaster | Failed::Fenced | Failed::WrongCluster | Failed::Members => Code::FailedPrecondition,
        Failed::NoMaster | Failed::Closed | Failed::Unconfirmed => Code::Unavailable,
        Failed::TooLarge | Failed::EmptyBatch | Failed::Malformed => Code::InvalidArgument,
        Failed::Busy | Failed::DiskFull | Failed::Exhausted => Code::ResourceExhausted,
        Failed::UnknownOutcome | Failed::Unspecified => Code::Unknown,
        Failed::UnknownGroup => Code::NotFound,
        Failed::NotYet | Failed::Removed | Failed::NoRecordAt => Code::OutOfRange,
        Failed::Damaged => Code::DataLoss,
    };
    tonic::Status::with_details(code, failure.message.clone(), Bytes::from(failure.encode_to_vec()))
}

/// The failure a node put into a status; `None` if the status is the connection's and not a node's.
pub(crate) fn from_status(status: &tonic::Status) -> Option<pb::Failure> {
    if status.details().is_empty() {
        return None;
    }
    let failure = pb::Failure::decode(status.details()).ok()?;
    (failure.code() != failure::Code::Unspecified).then_some(failure)
}

impl From<Consistency> for pb::Consistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::Local => Self::Local,
            Consistency::Lease => Self::Lease,
            Consistency::Linearizable => Self::Linearizable,
        }
    }
}

impl From<pb::Consistency> for Consistency {
    fn from(consistency: pb::Consistency) -> Self {
        match consistency {
            pb::Consistency::Local => Self::Local,
            pb::Consistency::Lease => Self::Lease,
            pb::Consistency::Linearizable => Self::Linearizable,
        }
    }
}

/// How consistent the read must be that a request asks for.
///
/// # Errors
/// This node does not know the number, and must not give less consistency than was asked for.
pub(crate) fn consistency(asked: i32) -> Result<Consistency, pb::Failure> {
    let known = pb::Consistency::try_from(asked).map(Into::into);
    known.map_err(|_| failure(failure::Code::Malformed, format!("consistency {asked} is unknown here: set 0, 1 or 2")))
}

impl From<Record> for pb::Record {
    fn from(record: Record) -> Self {
        let Record { index, position, term, timestamp, body } = record;
        Self { index, position, term, timestamp, body }
    }
}

impl From<pb::Record> for Record {
    fn from(record: pb::Record) -> Self {
        let pb::Record { index, position, term, timestamp, body } = record;
        Self { index, position, term, timestamp, body }
    }
}
