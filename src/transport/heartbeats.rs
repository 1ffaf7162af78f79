//! Heartbeats of many ledgers in one call: what both sides of it need.
//!
//! A node that leads many ledgers would send each of them a heartbeat of its own, several times a second, to the same
//! few peers. Heartbeats that fall due together travel in one call; each gets an answer of its own.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, FuturesUnordered};

use super::router::Router;
use crate::wire::pb::{self, beat_answer, refusal::Reason};
use crate::wire::refusal;

/// Most heartbeats in one call.
pub(crate) const MAX_HEARTBEATS: usize = 1024;

/// A peer's answer to one heartbeat.
pub(crate) type HeartbeatAnswer = Result<pb::AppendResponse, pb::Refusal>;

/// The senders of a call's heartbeats that have no answer yet.
pub(crate) struct Unanswered<T> {
    waiting: Vec<Option<T>>,
    left: usize,
}

impl<T> Unanswered<T> {
    /// `waiting`: one sender for each heartbeat, in the order of the request.
    pub(crate) fn new(waiting: Vec<T>) -> Self {
        Self { left: waiting.len(), waiting: waiting.into_iter().map(Some).collect() }
    }

    /// Whether all heartbeats are answered.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Passes each answer to the sender that waits for it.
    ///
    /// # Errors
    /// The peer answered a heartbeat that was not sent, or one heartbeat twice: no answer on this call can be
    /// attributed any more.
    pub(crate) fn settle(
        &mut self,
        response: pb::HeartbeatsResponse,
        mut give: impl FnMut(T, HeartbeatAnswer),
    ) -> Result<(), String> {
        for answer in response.answers {
            let place = usize::try_from(answer.beat).ok().and_then(|beat| self.waiting.get_mut(beat));
            let Some(waiting) = place.and_then(Option::take) else {
                return Err(format!("an answer to heartbeat {}, which is not open", answer.beat));
            };
            self.left -= 1;
            match answer.result {
                Some(beat_answer::Result::Answer(answer)) => give(waiting, Ok(answer)),
                Some(beat_answer::Result::Refusal(refusal)) => give(waiting, Err(refusal)),
                None => return Err(format!("an empty answer to heartbeat {}", answer.beat)),
            }
        }
        Ok(())
    }

    /// The senders that have no answer.
    pub(crate) fn rest(self) -> impl Iterator<Item = T> {
        self.waiting.into_iter().flatten()
    }
}

/// Passes each heartbeat to its ledger. The answers come as they are ready.
///
/// # Errors
/// There are more heartbeats than a node in good order sends at once.
pub(crate) fn serve(
    router: &Arc<Router>,
    request: pb::HeartbeatsRequest,
) -> Result<BoxStream<'static, pb::HeartbeatsResponse>, pb::Refusal> {
    let count = request.beats.len();
    if count > MAX_HEARTBEATS {
        return Err(refusal(Reason::Malformed, format!("{count} heartbeats"), format!("at most {MAX_HEARTBEATS}")));
    }
    router.count_heartbeats(count);
    let beats: FuturesUnordered<_> = request
        .beats
        .into_iter()
        .zip(0..)
        .map(|(beat, n)| {
            let router = router.clone();
            async move {
                let result = match serve_one(&router, beat).await {
                    Ok(answer) => beat_answer::Result::Answer(answer),
                    Err(refusal) => beat_answer::Result::Refusal(refusal),
                };
                pb::BeatAnswer { beat: n, result: Some(result) }
            }
        })
        .collect();
    Ok(beats.ready_chunks(MAX_HEARTBEATS).map(|answers| pb::HeartbeatsResponse { answers }).boxed())
}

async fn serve_one(router: &Router, beat: pb::AppendRequest) -> HeartbeatAnswer {
    if !beat.frames.is_empty() {
        let found = format!("a heartbeat with {} bytes of entries", beat.frames.len());
        return Err(refusal(Reason::Malformed, found, "no entries"));
    }
    router.route(beat.envelope.as_ref())?.heartbeat(beat).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(beats: &[u32]) -> pb::HeartbeatsResponse {
        let answer = |beat: &u32| {
            let last = Some(pb::LogId { term: 1, number: u64::from(*beat) });
            let matched = pb::append_response::Result::Matched(pb::Matched { last });
            let answer = pb::AppendResponse { result: Some(matched), end: None };
            pb::BeatAnswer { beat: *beat, result: Some(beat_answer::Result::Answer(answer)) }
        };
        pb::HeartbeatsResponse { answers: beats.iter().map(answer).collect() }
    }

    #[test]
    fn an_answer_goes_to_who_asked_and_a_second_one_ends_the_call() {
        let mut open = Unanswered::new(vec!["a", "b", "c"]);
        let mut given = Vec::new();
        open.settle(answers(&[2, 0]), |who, beat| given.push((who, beat.is_ok()))).unwrap();
        assert_eq!(given, [("c", true), ("a", true)]);
        for wrong in [0, 2, 3, u32::MAX] {
            let error = open.settle(answers(&[wrong]), |who, _| panic!("{who} was answered")).unwrap_err();
            assert!(error.contains(&wrong.to_string()), "{error}");
        }
        assert!(!open.is_done());
        assert_eq!(open.rest().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn an_empty_answer_ends_the_call() {
        let mut open = Unanswered::new(vec!["a"]);
        let empty = pb::BeatAnswer { beat: 0, result: None };
        assert!(open.settle(pb::HeartbeatsResponse { answers: vec![empty] }, |_, _| panic!("answered")).is_err());
    }
}
