//! What the leader does with the answers on a replication stream on their way to openraft, and what ends such a stream.
//!
//! | file | what it is |
//! |---|---|
//! | `guard` | everything that watches over one stream |
//! | `stalled` | ends a stream that stands at entries that are gone |
//! | `lagging` | ends a stream to a peer that is slower than retention |
//! | `restart_backoff` | when a stream that brought nothing may begin again |
//! | `ack_recorder` | records what a member acknowledges on one stream |

use futures::stream::BoxStream;
use openraft::errors::RPCError;
use openraft::raft::StreamAppendResult;

use crate::raft::TypeConfig;
use crate::raft::log_id::LogId;

pub(super) mod ack_recorder;
pub(super) mod guard;
mod lagging;
pub(super) mod restart_backoff;
mod stalled;

/// A member's answer to an append, or why there is none.
pub(super) type AppendOutcome<R> = Result<StreamAppendResult<TypeConfig<R>>, RPCError<TypeConfig<R>>>;
/// The answers on one replication stream, in the order of the requests.
pub(super) type AppendOutcomes<'s, R> = BoxStream<'s, AppendOutcome<R>>;
/// Where a member's log ends, if it says so, and its answer to an append.
pub(super) type MemberAnswer<R> = (Option<LogId>, StreamAppendResult<TypeConfig<R>>);
