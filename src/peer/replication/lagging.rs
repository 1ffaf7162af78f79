//! Replication streams of peers that are slower than retention.
//!
//! On a leader openraft does not purge what a stream is still to send. A peer that does not answer, or answers more
//! slowly than the log grows, would keep the disk full for ever. So its stream is broken when a purge has waited long
//! enough: openraft then purges at once, and brings the peer to the new beginning by a snapshot.

use std::io;

use futures::{Stream, StreamExt, stream};
use openraft::errors::NetworkError;
use tokio::sync::watch;

use crate::peer::client::{AppendOutcome, AppendOutcomes};
use crate::raft::Runtime;
use crate::types::{Group, NodeId};

/// The answers of a replication stream, which end with an error when a purge cannot wait for the peer any longer.
pub(in crate::peer) struct LaggingGuard<'s, R: Runtime> {
    answers: Option<AppendOutcomes<'s, R>>,
    /// The peer has the entries below this number, as far as it has answered.
    acked: u64,
    wanted: watch::Receiver<u64>,
    /// Of which ledger, and to whom.
    of: (Group, NodeId),
}

impl<'s, R: Runtime> LaggingGuard<'s, R> {
    /// `acked`: the number of the first entry that the stream begins with. `wanted`: what a purge waits for
    /// ([`PurgeFloor`](crate::raft::storage::purge::PurgeFloor)).
    pub(in crate::peer) fn watch(
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
            // An error: Raft is gone, and this stream with it.
            Ok(floor) = wanted_above(&mut self.wanted, acked) => {
                // The requests go with it, before openraft hears of it and purges what they are made of.
                self.answers = None;
                let why = format!("given up: it has acknowledged what is below entry {acked}, below {floor} all goes");
                let (group, node) = &self.of;
                tracing::warn!(%group, %node, acked, floor,
                    "a peer is too slow for retention: it will begin where the log does");
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

/// Waits until entries from `acked` on are to go.
async fn wanted_above(wanted: &mut watch::Receiver<u64>, acked: u64) -> Result<u64, watch::error::RecvError> {
    wanted.wait_for(|floor| acked < *floor).await.map(|floor| *floor)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use openraft::errors::RPCError;

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::raft::type_config::log_id;

    #[test]
    fn a_stream_ends_when_what_it_still_has_to_send_is_to_go_and_its_requests_are_gone_by_then() {
        let (floor, wanted) = watch::channel(0);
        let (give, given) = futures::channel::mpsc::unbounded::<AppendOutcome<TokioRuntime>>();
        let mut stream = LaggingGuard::watch(given.boxed(), 5, wanted, ("g".parse().unwrap(), 1.into())).boxed();
        let mut next = || stream.next().now_or_never();
        assert!(next().is_none());
        // The peer has all that is to go, and moves on.
        floor.send_replace(5);
        assert!(next().is_none());
        give.unbounded_send(Ok(Ok(Some(log_id(1, 8))))).unwrap();
        assert!(matches!(next(), Some(Some(Ok(Ok(Some(id)))) ) if id.index == 8));
        floor.send_replace(9);
        assert!(next().is_none());
        floor.send_replace(10);
        let Some(Some(Err(RPCError::Network(error)))) = next() else { panic!("it goes on") };
        assert!(error.to_string().contains("acknowledged what is below entry 9"), "{error}");
        assert!(give.is_closed(), "requests could still be made of what is to go");
        assert!(matches!(next(), Some(None)));
    }
}
