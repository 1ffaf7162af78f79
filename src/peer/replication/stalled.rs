//! Ends replication streams that stand at entries that are gone.
//!
//! openraft may resume a command that had failed, and send from where that command once stood. If a purge has gone past
//! that place, there is nothing left to read there, and openraft sends appends without entries, for ever: as long as a
//! stream is behind the end of the log, openraft looks at no newer command, not even at the one to send what is behind
//! the snapshot that the peer has got meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt, future, stream};
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::AppendEntriesRequest;

use super::AppendOutcome;
use crate::raft::{Runtime, TypeConfig};
use crate::types::{Group, NodeId};

/// Whether the requests of one stream were ended because it stalled. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct StalledGuard(Arc<AtomicBool>);

impl StalledGuard {
    /// The requests, which end when two in a row carry nothing although `is_gone` says that the entry due next is gone.
    ///
    /// One such request is in order: it tells a peer that a snapshot has brought up to date what is committed.
    pub(super) fn requests<R, S, G>(
        &self,
        requests: S,
        is_gone: G,
        (group, node): (Group, NodeId),
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig<R>>> + use<R, S, G>
    where
        R: Runtime,
        S: Stream<Item = AppendEntriesRequest<TypeConfig<R>>>,
        G: Fn(u64) -> bool,
    {
        let (stalled, mut last) = (self.0.clone(), false);
        requests.take_while(move |request| {
            let next = request.prev_log_id.map_or(0, |id| id.index.saturating_add(1));
            let stands = request.entries.is_empty() && is_gone(next);
            let again = stands && last;
            last = stands;
            if again {
                tracing::warn!(%group, %node, next,
                    "closing a replication stream: the entry it has to send next has been removed. A new stream sends \
                    the peer a snapshot");
                stalled.store(true, Ordering::Release);
            }
            future::ready(!again)
        })
    }

    /// The answers, and behind the last of them an error if the requests were ended: openraft then decides anew what to
    /// send the peer.
    pub(super) fn answers<R: Runtime>(
        self,
        answers: impl Stream<Item = AppendOutcome<R>>,
    ) -> impl Stream<Item = AppendOutcome<R>> {
        let why = future::lazy(move |_| {
            let error = io::Error::other("the entries to be sent are gone from the log");
            self.0.load(Ordering::Acquire).then(|| Err(RPCError::from(NetworkError::new(&error))))
        });
        answers.chain(stream::once(why).filter_map(future::ready))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::raft::entry::Entry;
    use crate::raft::log_id::{RaftVote, log_id};

    type Request = AppendEntriesRequest<TypeConfig<TokioRuntime>>;

    fn request(previous: Option<u64>, entries: Vec<Entry>) -> Request {
        let prev_log_id = previous.map(|number| log_id(1, number));
        AppendEntriesRequest {
            vote: RaftVote::new(1, "n0".parse().unwrap()),
            prev_log_id,
            entries,
            leader_commit: None,
        }
    }

    /// How many of the requests came through, and whether there was an error behind the answers.
    fn outcome(requests: Vec<Request>, first: u64) -> (usize, bool) {
        let stalled = StalledGuard::default();
        let requests =
            stalled.requests(stream::iter(requests), |number| number < first, ("g".parse().unwrap(), 1.into()));
        let answers = requests.map(|request| Ok(Ok(request.prev_log_id)));
        let answers: Vec<AppendOutcome<TokioRuntime>> = stalled.answers(answers).collect().now_or_never().unwrap();
        let errors = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(errors == 0 || answers.last().unwrap().is_err());
        (answers.len() - errors, errors == 1)
    }

    #[test]
    fn a_stream_that_stands_still_at_entries_that_are_gone_ends_with_an_error() {
        let empty = |previous| request(previous, Vec::new());
        let some = |previous| request(previous, vec![Entry::new_blank(log_id(1, previous.map_or(0, |p| p + 1)))]);
        // The entry due next is not gone: appends without entries tell the peer the commit point.
        assert_eq!(outcome(vec![empty(Some(9)), empty(Some(9)), empty(Some(9))], 10), (3, false));
        assert_eq!(outcome(vec![empty(None), empty(None)], 0), (2, false));
        // The entry due next is gone: one append without entries is in order.
        assert_eq!(outcome(vec![empty(Some(8))], 10), (1, false));
        // A second one in a row ends the stream: openraft would go on with them for ever.
        assert_eq!(outcome(vec![empty(Some(8)), empty(Some(8)), empty(Some(8))], 10), (1, true));
        assert_eq!(outcome(vec![empty(None), empty(None)], 1), (1, true));
        // Entries that the stream read before the purge removed them are sent.
        assert_eq!(outcome(vec![empty(Some(8)), some(Some(8)), empty(Some(9)), empty(Some(9))], 10), (4, false));
    }
}
