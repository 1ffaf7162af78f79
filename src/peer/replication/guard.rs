//! What watches over one replication stream, in both of its directions.

use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::watch;

use super::lagging::LaggingGuard;
use super::restart_backoff::RestartBackoff;
use super::stalled::StalledGuard;
use super::{AppendOutcome, AppendOutcomes};
use crate::raft::log_id::LogId;
use crate::raft::storage::purge::PurgeFloor;
use crate::raft::{Runtime, TypeConfig};
use crate::types::{Group, NodeId};

/// Ends the stream where openraft would keep it for ever: when it stands at entries that are gone ([`StalledGuard`]),
/// and when the peer is slower than retention ([`LaggingGuard`]). Counts what the stream brought, so that the next
/// stream begins no sooner than is of use ([`RestartBackoff`]).
pub(in crate::peer) struct ReplicationGuard {
    stalled: StalledGuard,
    restarts: RestartBackoff,
    floor: PurgeFloor,
    wanted: watch::Receiver<u64>,
    /// The entry before the first request.
    previous: Option<LogId>,
    /// The ledger, and the peer.
    of: (Group, NodeId),
}

impl ReplicationGuard {
    pub(in crate::peer) fn new(
        floor: &PurgeFloor,
        peer: NodeId,
        previous: Option<LogId>,
        restarts: RestartBackoff,
    ) -> Self {
        let of = (floor.log().group().clone(), peer);
        let (wanted, floor) = (floor.wanted(), floor.clone());
        Self { stalled: StalledGuard::default(), restarts, floor, wanted, previous, of }
    }

    /// The number of the first entry that the stream may send: the peer has all entries below it.
    pub(in crate::peer) fn first_number(&self) -> u64 {
        self.previous.map_or(0, |id| id.index + 1)
    }

    /// The requests, which end when the stream stalls.
    pub(in crate::peer) fn requests<R, S>(
        &self,
        requests: S,
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig<R>>> + use<R, S>
    where
        R: Runtime,
        S: Stream<Item = AppendEntriesRequest<TypeConfig<R>>>,
    {
        let floor = self.floor.clone();
        self.stalled.requests(requests, move |number| floor.is_gone(number), self.of.clone())
    }

    /// The answers, which end with an error when the stream has stalled or the peer lags too far behind.
    pub(in crate::peer) fn answers<'s, R: Runtime>(
        self,
        answers: impl Stream<Item = AppendOutcome<R>> + Send + 's,
    ) -> AppendOutcomes<'s, R> {
        let acked = self.first_number();
        let answers = self.stalled.answers(answers).boxed();
        let answers = LaggingGuard::watch(answers, acked, self.wanted, self.of);
        self.restarts.watch(answers, self.previous).boxed()
    }
}
