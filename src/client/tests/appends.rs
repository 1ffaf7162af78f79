//! Appends: the way to the master, order, outcomes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::fake::{Fake, Reaction, builder, client, dead_address};
use crate::client::{Client, ClientError};
use crate::error::Outcome;
use crate::wire::client::failure;
use crate::wire::pb::failure::Code;

fn texts(range: std::ops::Range<u32>) -> Vec<Bytes> {
    range.map(|i| Bytes::from(format!("r{i}"))).collect()
}

/// Each record submitted on its own, in order.
async fn submit_each(client: &Client, records: &[Bytes]) -> Vec<Result<u64, ClientError>> {
    let mut pending = Vec::new();
    for record in records {
        pending.push(client.submit(vec![record.clone()]).await.unwrap());
    }
    join_all(pending).await.into_iter().map(|outcome| outcome.map(|ack| ack.first_index)).collect()
}

#[tokio::test]
async fn a_master_that_the_list_lacks_is_found_through_a_slave() {
    let (slave, master) = (Fake::start("slave").await, Fake::start("master").await);
    slave.set(|state| state.master_address = master.address.clone());
    let client = client(&[&slave.address]);
    assert_eq!(client.append("hello").await.unwrap().index, 0);
    assert_eq!(master.log(), ["hello"]);
}

#[tokio::test]
async fn a_refusal_names_the_master_and_the_records_go_there() {
    let (old, new) = (Fake::start("master").await, Fake::start("master").await);
    // It thinks that it is master until it is asked to append.
    old.set(|state| state.reactions.extend((0..9).map(|_| old.not_master(&new.address))));
    let client = client(&[&old.address]);
    assert_eq!(client.append("hello").await.unwrap().index, 0);
    assert_eq!(new.log(), ["hello"]);
}

#[tokio::test]
async fn refused_records_keep_their_order() {
    let (old, new) = (Fake::start("master").await, Fake::start("slave").await);
    let client = client(&[&old.address, &new.address]);
    client.append("first").await.unwrap();
    old.set(|state| state.role = "slave");
    new.set(|state| state.role = "master");
    let records = texts(0..500);
    let outcomes = submit_each(&client, &records).await;
    let indexes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(indexes, (0..500).collect::<Vec<_>>());
    assert_eq!(new.log(), records);
}

#[tokio::test]
async fn appends_that_wait_travel_together_and_batches_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = Fake::start_with("master", Some(gate.clone())).await;
    let client = client(&[&fake.address]);
    let mut pending = Vec::new();
    for (i, record) in texts(0..8).into_iter().enumerate() {
        pending.push(client.submit(vec![record]).await.unwrap());
        // A lone append goes at once: it comes although none was answered.
        fake.received(i + 1).await;
    }
    for record in texts(8..20) {
        pending.push(client.submit(vec![record]).await.unwrap());
    }
    pending.push(client.submit(texts(20..23)).await.unwrap());
    pending.push(client.submit(texts(23..24)).await.unwrap());
    gate.add_permits(100);
    let acks: Vec<_> = join_all(pending).await.into_iter().map(Result::unwrap).collect();
    let requests = fake.set(|state| state.requests.clone());
    assert_eq!(requests, [1, 1, 1, 1, 1, 1, 1, 1, 12, 3, 1]);
    assert_eq!(fake.log(), texts(0..24));
    assert!(acks.iter().take(20).zip(0..).all(|(ack, i)| ack.first_index == i && ack.count == 1));
    // Within a request, each record lies 4 bytes and the length of the one before it further on.
    assert_eq!((acks[9].first_position, acks[10].first_position), (1000 + 4 + 2, 1000 + 4 + 2 + 4 + 2));
    assert_eq!((acks[20].first_index, acks[20].count), (20, 3));
}

#[tokio::test]
async fn a_batch_has_an_ack_per_record() {
    let fake = Fake::start("master").await;
    let acks = client(&[&fake.address]).append_batch(["a", "bcd", ""]).await.unwrap();
    let places: Vec<_> = acks.iter().map(|ack| (ack.index, ack.position)).collect();
    assert_eq!(places, [(0, 1000), (1, 1005), (2, 1012)]);
}

#[tokio::test]
async fn a_stream_that_breaks_leaves_the_outcome_unknown_and_nothing_is_sent_twice() {
    let fake = Fake::start("master").await;
    let client = client(&[&fake.address]);
    client.append("acked").await.unwrap();
    fake.set(|state| state.reactions.push_back(Reaction::Break));
    let error = client.append("maybe").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(error.to_string().contains("killed"), "{error}");
    assert_eq!(client.append("after").await.unwrap().index, 1);
    assert_eq!(fake.log(), ["acked", "after"]);
}

#[tokio::test]
async fn another_master_is_found_when_one_dies() {
    let (old, new) = (Fake::start("master").await, Fake::start("electing").await);
    let client = client(&[&old.address, &new.address]);
    client.append("one").await.unwrap();
    old.set(|state| {
        state.reactions.push_back(Reaction::Break);
        state.down = true;
    });
    let error = client.append("maybe").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    let after = tokio::spawn(async move { client.append("after").await });
    new.set(|state| state.role = "master");
    assert_eq!(after.await.unwrap().unwrap().index, 0);
    assert_eq!(new.log(), ["after"]);
}

#[tokio::test]
async fn a_master_that_says_nothing_is_left_for_one_of_a_higher_term() {
    let (old, new) = (Fake::start("master").await, Fake::start("slave").await);
    let client = client(&[&old.address, &new.address]);
    old.set(|state| state.reactions.push_back(Reaction::Hang));
    let hung = tokio::spawn({
        let client = client.clone();
        async move { client.append("maybe").await }
    });
    old.received(1).await;
    new.set(|state| (state.role, state.term) = ("master", 2));
    let error = hung.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    client.append("after").await.unwrap();
    assert_eq!(new.log(), ["after"]);
}

#[tokio::test]
async fn at_the_deadline_an_append_that_was_not_sent_is_refused() {
    let (slave, dead) = (Fake::start("slave").await, dead_address().await);
    let client = builder(&[&slave.address, &dead]).timeout(Duration::from_millis(200)).build();
    let error = client.append("hello").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    let ClientError::NoMaster { waited, tried } = error else { panic!("{error}") };
    assert!(waited >= Duration::from_millis(100));
    assert_eq!(tried.len(), 2);
    assert_eq!((tried[0].address.as_str(), tried[0].reason.as_str()), (slave.address.as_str(), "slave"));
}

#[tokio::test]
async fn where_no_node_answers_all_are_named() {
    let (one, two) = (dead_address().await, dead_address().await);
    let client = builder(&[&one, &two]).timeout(Duration::from_millis(200)).build();
    let error = client.append("hello").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&one) && text.contains(&two) && text.contains("refused"), "{text}");
    assert!(matches!(client.get(0).await, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_record_that_is_too_large_does_not_take_its_neighbours_with_it() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = Fake::start_with("master", Some(gate.clone())).await;
    fake.set(|state| state.limit = Some(5));
    let client = client(&[&fake.address]);
    let mut records = texts(0..12);
    records[10] = Bytes::from_static(b"too large");
    let outcomes = tokio::spawn({
        let (client, records) = (client.clone(), records.clone());
        async move { submit_each(&client, &records).await }
    });
    gate.add_permits(100);
    for (i, outcome) in outcomes.await.unwrap().into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(i, 10),
            Err(error) => {
                assert!(i == 10 && matches!(error, ClientError::TooLarge { size: 9, limit: 5, .. }), "{error}")
            }
        }
    }
    assert_eq!(fake.log().len(), 11);
}

#[tokio::test]
async fn a_group_that_no_node_hosts_is_told_at_once() {
    let fake = Fake::start("master").await;
    let peers = format!("n0={}", fake.address).parse().unwrap();
    let error = Client::builder(peers, "other".parse().unwrap()).build().append("hello").await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownGroup { .. }), "{error}");
}

#[tokio::test]
async fn passing_refusals_are_retried_and_the_others_told() {
    let fake = Fake::start("master").await;
    let client = client(&[&fake.address]);
    for code in [Code::Busy, Code::Closed, Code::NoMaster] {
        fake.set(|state| state.reactions.push_back(Reaction::Refuse(failure(code, "not now"))));
        client.append("hello").await.unwrap();
    }
    for code in [Code::WrongCluster, Code::Malformed, Code::UnknownOutcome, Code::Unspecified] {
        fake.set(|state| state.reactions.push_back(Reaction::Refuse(failure(code, "no"))));
        let error = client.append("hello").await.unwrap_err();
        let unknown = matches!(code, Code::UnknownOutcome | Code::Unspecified);
        assert_eq!(error.outcome() == Outcome::Unknown, unknown, "{error}");
    }
    assert_eq!(fake.log().len(), 3);
}

#[tokio::test]
async fn what_a_node_has_not_taken_when_it_ends_the_stream_is_sent_again() {
    let fake = Fake::start("master").await;
    let client = client(&[&fake.address]);
    fake.set(|state| state.reactions.push_back(Reaction::End(failure(Code::Closed, "the node stops"))));
    assert_eq!(client.append("hello").await.unwrap().index, 0);
    fake.set(|state| state.reactions.push_back(Reaction::End(failure(Code::Busy, "no room to read it"))));
    assert_eq!(client.append("again").await.unwrap().index, 1);
    // Only the one over the limit is refused; what was sent with it is not.
    let mut oversized = failure(Code::TooLarge, "split it");
    oversized.limit = 100;
    fake.set(|state| state.reactions.push_back(Reaction::End(oversized)));
    let large = client.submit(vec![Bytes::from(vec![0; 93])]).await.unwrap();
    let small = client.submit(texts(0..2)).await.unwrap();
    let error = large.await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { size: 101, limit: 100, .. }), "{error}");
    assert_eq!(small.await.unwrap().first_index, 2);
    // An end that says nothing of what was taken leaves it unknown.
    let unknown = failure(Code::UnknownOutcome, "who knows");
    fake.set(|state| state.reactions.push_back(Reaction::End(unknown)));
    assert_eq!(client.append("maybe").await.unwrap_err().outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn appends_that_were_too_large_together_go_each_for_itself() {
    let fake = Fake::start("master").await;
    let client = client(&[&fake.address]);
    let mut oversized = failure(Code::TooLarge, "split it");
    oversized.limit = 100;
    fake.set(|state| state.reactions.push_back(Reaction::End(oversized)));
    let record = || client.append(vec![0; 60]);
    let (one, other) = tokio::join!(record(), record());
    assert_eq!((one.unwrap().index, other.unwrap().index), (0, 1));
    assert_eq!(fake.set(|state| state.requests.clone()), [2, 1, 1]);
}

#[tokio::test]
async fn an_ack_for_another_number_of_records_is_not_believed() {
    let fake = Fake::start("master").await;
    fake.set(|state| state.reactions.push_back(Reaction::Miscount(7)));
    let client = client(&[&fake.address]);
    assert_eq!(client.append("hello").await.unwrap_err().outcome(), Outcome::Unknown);
    client.append("hello").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before() {
    let client = client(&["127.0.0.1:1"]);
    assert_eq!(client.append_batch(Vec::<Bytes>::new()).await, Err(ClientError::EmptyBatch));
    let large = Bytes::from(vec![0; (64 << 20) + 1]);
    assert!(matches!(client.append(large).await, Err(ClientError::TooLarge { .. })));
    let many = client.append_batch(vec![Bytes::new(); (64 << 10) + 1]).await;
    assert!(matches!(many, Err(ClientError::TooLarge { size: 65_537, limit: 65_536, .. })));
    let unknown = client.node(&"n9".parse().unwrap()).unwrap_err();
    assert_eq!(unknown.to_string(), "no peer is called n9: the list has n0");
}

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = Fake::start_with("master", Some(gate.clone())).await;
    let client = builder(&[&fake.address]).max_inflight_bytes(64 << 10).build();
    let half = Bytes::from(vec![0; 32 << 10]);
    let first = client.submit(vec![half.clone()]).await.unwrap();
    let mut second = Box::pin(client.submit(vec![half]));
    assert!(futures::poll!(second.as_mut()).is_pending());
    gate.add_permits(2);
    first.await.unwrap();
    second.await.unwrap().await.unwrap();
}
