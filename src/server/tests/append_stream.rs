//! Order, answers and the end of an append stream, without a node.

use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use parking_lot::Mutex;

use super::*;
use crate::wire::client::failure;
use crate::wire::pb::failure::Code;

fn request(id: u64) -> Result<pb::AppendRecordsRequest, tonic::Status> {
    Ok(pb::AppendRecordsRequest { id, ..Default::default() })
}

fn ack(first_index: u64) -> AppendOutcome {
    Ok(BatchAck { first_index, first_position: 0, term: 1, count: 1 })
}

type Requests = mpsc::UnboundedReceiver<Result<pb::AppendRecordsRequest, tonic::Status>>;
type Outcomes = Arc<Mutex<Vec<(u64, oneshot::Sender<AppendOutcome>)>>>;
type Awaiting = BoxFuture<'static, AppendOutcome>;

/// Submits every request but those with an id from 100 on, which are refused. The test gives the outcomes.
fn answers(
    requests: Requests,
) -> (impl Stream<Item = Result<pb::AppendRecordsResponse, tonic::Status>> + Unpin, Outcomes) {
    answers_until(requests, std::future::pending())
}

/// As above, until `closed`. A request with an id from 200 on waits for room for ever.
fn answers_until(
    requests: Requests,
    closed: impl Future<Output = pb::Failure> + Send + 'static,
) -> (impl Stream<Item = Result<pb::AppendRecordsResponse, tonic::Status>> + Unpin, Outcomes) {
    let outcomes = Outcomes::default();
    let submitted = outcomes.clone();
    let submit = move |request: pb::AppendRecordsRequest| {
        let submitted = submitted.clone();
        async move {
            if request.id >= 200 {
                return std::future::pending().await;
            }
            if request.id >= 100 {
                return Err(failure(Code::NotMaster, "not here"));
            }
            let (sender, receiver) = oneshot::channel();
            submitted.lock().push((request.id, sender));
            let outcome: Awaiting = receiver.map(|outcome| outcome.unwrap()).boxed();
            Ok(outcome)
        }
    };
    (AppendAnswers::new(requests, submit, closed), outcomes)
}

#[tokio::test]
async fn requests_are_submitted_in_order_and_answered_as_outcomes_come() {
    let (sender, receiver) = mpsc::unbounded();
    let (mut answers, outcomes) = answers(receiver);
    (0..3).for_each(|id| sender.unbounded_send(request(id)).unwrap());
    assert!(futures::poll!(answers.next()).is_pending());
    let mut submitted = std::mem::take(&mut *outcomes.lock());
    assert_eq!(submitted.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2]);
    submitted.pop().unwrap().1.send(ack(7)).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap(), appended(2, ack(7).unwrap()));
    submitted.remove(0).1.send(Err(failure(Code::UnknownOutcome, "gone"))).unwrap();
    let answer = answers.next().await.unwrap().unwrap();
    assert_eq!((answer.id, matches!(answer.result, Some(Answered::Failure(_)))), (0, true));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_the_stream_goes_on() {
    let (sender, receiver) = mpsc::unbounded();
    let (mut answers, outcomes) = answers(receiver);
    [100, 1].iter().for_each(|id| sender.unbounded_send(request(*id)).unwrap());
    let Some(Ok(pb::AppendRecordsResponse { id: 100, result: Some(Answered::Failure(refusal)) })) =
        answers.next().await
    else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code(), Code::NotMaster);
    assert!(futures::poll!(answers.next()).is_pending());
    outcomes.lock().pop().unwrap().1.send(ack(0)).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().id, 1);
}

#[tokio::test]
async fn after_the_last_request_the_outcomes_still_come() {
    for end in [None, Some(Err(tonic::Status::unavailable("broke")))] {
        let (sender, receiver) = mpsc::unbounded();
        let (mut answers, outcomes) = answers(receiver);
        sender.unbounded_send(request(0)).unwrap();
        end.into_iter().for_each(|end| sender.unbounded_send(end).unwrap());
        drop(sender);
        assert!(futures::poll!(answers.next()).is_pending());
        outcomes.lock().pop().unwrap().1.send(ack(0)).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().id, 0);
        assert!(answers.next().await.is_none());
    }
}

#[tokio::test]
async fn so_many_are_awaited_and_no_more_are_read() {
    let (sender, receiver) = mpsc::unbounded();
    let (mut answers, outcomes) = answers(receiver);
    let more = MAX_AWAITED as u64 + 5;
    (0..more).for_each(|_| sender.unbounded_send(request(0)).unwrap());
    assert!(futures::poll!(answers.next()).is_pending());
    assert_eq!(outcomes.lock().len(), MAX_AWAITED);
    outcomes.lock().remove(0).1.send(ack(0)).unwrap();
    assert!(answers.next().await.is_some());
    assert!(futures::poll!(answers.next()).is_pending());
    assert_eq!(outcomes.lock().len(), MAX_AWAITED);
}

#[tokio::test]
async fn once_closed_what_was_taken_is_answered_and_the_rest_refused() {
    let (sender, receiver) = mpsc::unbounded();
    let (close, closed) = oneshot::channel();
    let (mut answers, outcomes) = answers_until(receiver, closed.map(|why| why.unwrap()));
    // The last is not even read.
    [0, 200, 1].iter().for_each(|id| sender.unbounded_send(request(*id)).unwrap());
    assert!(futures::poll!(answers.next()).is_pending());
    close.send(failure(Code::Closed, "the node stops")).unwrap();
    let Some(Ok(pb::AppendRecordsResponse { id: 200, result: Some(Answered::Failure(refusal)) })) =
        answers.next().await
    else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code(), Code::Closed);
    assert!(futures::poll!(answers.next()).is_pending(), "an outcome is still to come");
    outcomes.lock().pop().unwrap().1.send(ack(0)).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().id, 0);
    let end = answers.next().await.unwrap().unwrap_err();
    assert_eq!(from_status(&end).unwrap().code(), Code::Closed);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_ends_the_stream_behind_the_answers() {
    let (sender, receiver) = mpsc::unbounded();
    let (mut answers, outcomes) = answers(receiver);
    sender.unbounded_send(request(0)).unwrap();
    sender.unbounded_send(Err(to_status(&failure(Code::TooLarge, "too large")))).unwrap();
    assert!(futures::poll!(answers.next()).is_pending());
    outcomes.lock().pop().unwrap().1.send(ack(0)).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().id, 0);
    let end = answers.next().await.unwrap().unwrap_err();
    assert_eq!(from_status(&end).unwrap().code(), Code::TooLarge);
    assert!(answers.next().await.is_none());
}
