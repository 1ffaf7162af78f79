//! Ends the replication streams of peers that are slower than retention.
//!
//! A leader's openraft does not purge what a stream still has to send. A peer that does not answer, or answers more
//! slowly than the log grows, would keep the disk full for ever. So [`LaggingGuard`] breaks its stream when a purge has
//! waited long enough: openraft then purges at once, and brings the peer to the log's new beginning by a snapshot.

use std::io;

use futures::{Stream, StreamExt, stream};
use openraft::errors::NetworkError;
use tokio::sync::watch;

use super::{AppendOutcome, AppendOutcomes};
use crate::raft::Runtime;
use crate::types::{Group, NodeId};

/// The answers of a replication stream. They end with an error when a purge cannot wait for the peer any longer.
pub(super) struct LaggingGuard<'s, R: Runtime> {
    answers: Option<AppendOutcomes<'s, R>>,
    /// The peer has the entries below this number, as far as it has answered.
    acked: u64,
    /// The number below which a purge waits to remove all entries.
    wanted: watch::Receiver<u64>,
    /// The ledger, and the peer.
    of: (Group, NodeId),
}

impl<'s, R: Runtime> LaggingGuard<'s, R> {
    /// `acked`: the number of the stream's first entry. `wanted`: the number that a purge waits to purge up to
    /// ([`PurgeFloor`](crate::raft::storage::purge::PurgeFloor)).
    pub(super) fn watch(
        answers: AppendOutcomes<'s, R>,
        acked: u64,
        wanted: watch::Receiver<u64>,
        of: (Group, NodeId),
    ) -> impl Stream<Item = AppendOutcome<R>> + 's {
        stream::unfold(Self { answers: Some(answers), acked, wanted, of }, Self::next)
    }

    async fn next(mut self) -> Option<(AppendOutcome<R>, Self)> {
        let answers = self.answers.as_mut()?;
        let acked = self.acked;
        tokio::select! {
            biased;
            // An error means that Raft is gone, and this stream with it.
            Ok(floor) = wanted_above(&mut self.wanted, acked) => {
                // Drops the requests too, before openraft hears of the error and purges the entries they are made of.
                self.answers = None;
                let why = format!("the peer has the entries below {acked}, retention removes all below {floor}");
                let (group, node) = &self.of;
                tracing::warn!(%group, %node, acked, floor,
                    "closing a replication stream: the peer is slower than retention. A snapshot brings it to where \
                    the log begins");
                Some((Err(NetworkError::new(&io::Error::other(why)).into()), self))
            }
            answer = answers.next() => {
                let answer = answer?;
                if let Ok(Ok(Some(matched))) = &answer {
                    self.acked = acked.max(matched.index.saturating_add(1));
                }
                Some((answer, self))
            }
        }
    }
}

/// Waits until a purge wants to remove the entry `acked`.
async fn wanted_above(wanted: &mut watch::Receiver<u64>, acked: u64) -> Result<u64, watch::error::RecvError> {
    wanted.wait_for(|floor| acked < *floor).await.map(|floor| *floor)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use openraft::errors::RPCError;

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::raft::log_id::log_id;

    #[test]
    fn a_stream_ends_when_what_it_still_has_to_send_is_to_go_and_its_requests_are_gone_by_then() {
        let (floor, wanted) = watch::channel(0);
        let (give, given) = futures::channel::mpsc::unbounded::<AppendOutcome<TokioRuntime>>();
        let mut stream = LaggingGuard::watch(given.boxed(), 5, wanted, ("g".parse().unwrap(), 1.into())).boxed();
        let mut next = || stream.next().now_or_never();
        assert!(next().is_none());
        // The peer has all entries that the purge wants to remove, and its stream goes on.
        floor.send_replace(5);
        assert!(next().is_none());
        give.unbounded_send(Ok(Ok(Some(log_id(1, 8))))).unwrap();
        assert!(matches!(next(), Some(Some(Ok(Ok(Some(id)))) ) if id.index == 8));
        floor.send_replace(9);
        assert!(next().is_none());
        floor.send_replace(10);
        let Some(Some(Err(RPCError::Network(error)))) = next() else { panic!("it goes on") };
        assert!(error.to_string().contains("has the entries below 9, retention removes all below 10"), "{error}");
        assert!(give.is_closed(), "requests could still be made of what is to go");
        assert!(matches!(next(), Some(None)));
    }
}
