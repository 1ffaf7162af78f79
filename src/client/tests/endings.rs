//! What is told when a call's time is up: how long it waited in all, what each node said, what to do.

use std::time::Duration;

use tokio::net::TcpListener;

use super::fake::{Fake, builder, dead_address};
use crate::client::{Client, ClientError, NodeProblem};
use crate::error::Outcome;
use crate::wire::client::failure;
use crate::wire::pb::failure::Code;

/// Short, and yet longer than a machine under load takes to ask a few nodes.
const TIMEOUT: Duration = Duration::from_millis(600);

/// What an append to these nodes ends with.
async fn append(addresses: &[&str]) -> ClientError {
    told(builder(addresses).timeout(TIMEOUT).build().append("hello").await.unwrap_err())
}

async fn get(addresses: &[&str]) -> ClientError {
    told(builder(addresses).timeout(TIMEOUT).build().get(0).await.unwrap_err())
}

/// Checks what goes for every end.
fn told(error: ClientError) -> ClientError {
    let text = error.to_string();
    assert_eq!(error.outcome(), Outcome::Refused, "{text}");
    assert!(!text.contains("µs") && !text.contains("ns)") && !text.contains("within less"), "{text}");
    if let ClientError::NoMaster { waited, .. } | ClientError::Unreachable { waited, .. } = &error {
        assert!(*waited >= TIMEOUT, "not what was left: {text}");
    }
    error
}

/// That the error says all of it.
#[track_caller]
fn says(error: &ClientError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test]
async fn nodes_that_elect_are_told_with_what_they_wait_for() {
    let fake = Fake::start("electing").await;
    fake.set(|state| state.waiting = "n1 at h:1 does not answer");
    let dead = dead_address().await;
    let error = append(&[&fake.address, &dead]).await;
    assert!(matches!(error, ClientError::NoMaster { .. }), "{error}");
    let waiting = format!("{}: electing: n1 at h:1 does not answer", fake.address);
    says(&error, &["no master within", &waiting, &dead, "check that a quorum of the members is up"]);
    says(&error, &["check that the silent ones run"]);
}

#[tokio::test]
async fn a_ledger_that_is_closed_is_told_with_its_reason_and_no_network_is_blamed() {
    let fake = Fake::start("closed").await;
    fake.set(|state| state.closed_reason = "the disk failed");
    fake.set(|state| state.turns_away = None);
    let error = append(&[&fake.address]).await;
    says(&error, &["closed: the disk failed", "see to what closed the ledger"]);
    assert!(!error.to_string().contains("addresses"), "{error}");
    // A read, and an append that a node took for as long as it was open.
    fake.set(|state| state.turns_away = Some(failure(Code::Closed, "the disk failed")));
    let error = get(&[&fake.address]).await;
    let ClientError::Unreachable { tried, .. } = &error else { panic!("{error}") };
    assert_eq!(tried[0].problem, NodeProblem::Closed);
    says(&error, &["no node could serve this", "the disk failed", "see to what closed the ledger"]);
}

#[tokio::test]
async fn a_full_disk_is_told_at_once() {
    let fake = Fake::start("master").await;
    fake.set(|state| state.refuses = Some(failure(Code::DiskFull, "no room for a segment")));
    let error = append(&[&fake.address]).await;
    assert!(matches!(error, ClientError::DiskFull { .. }), "{error}");
    says(&error, &["no room for more records", "no room for a segment", "free space"]);
}

#[tokio::test]
async fn a_master_that_refuses_until_the_time_is_up_is_told_by_its_refusal() {
    let fake = Fake::start("master").await;
    fake.set(|state| state.refuses = Some(failure(Code::NoMaster, "the quorum is out of reach")));
    let error = append(&[&fake.address]).await;
    assert!(matches!(error, ClientError::NoMaster { .. }), "{error}");
    says(&error, &[&fake.address, "the quorum is out of reach", "check that a quorum of the members is up"]);
    assert!(!error.to_string().contains("no answer"), "{error}");
}

#[tokio::test]
async fn nodes_without_a_place_are_told_to_be_crowded() {
    let (one, two) = (Fake::start("master").await, Fake::start("slave").await);
    for fake in [&one, &two] {
        let taken = "8 of 8 connections are taken: close some, or raise --max-connections of the node";
        fake.set(|state| state.turns_away = Some(failure(Code::Busy, taken)));
    }
    for error in [append(&[&one.address, &two.address]).await, get(&[&one.address, &two.address]).await] {
        assert!(matches!(error, ClientError::Busy { .. }), "{error}");
        says(&error, &[&one.address, &two.address, "8 of 8 connections are taken", "raise --max-connections"]);
        assert!(!error.to_string().contains("addresses"), "{error}");
    }
    // A stream that finds no place where the node is master.
    one.set(|state| (state.turns_away, state.refuses) = (None, Some(failure(Code::Busy, "no room to read it"))));
    let error = append(&[&one.address]).await;
    assert!(matches!(error, ClientError::Busy { .. }), "{error}");
    says(&error, &[&one.address, "no room to read it", "try again when there is less to do"]);
}

#[tokio::test]
async fn a_group_that_is_hosted_nowhere_is_told_beside_nodes_that_are_silent() {
    let (fake, dead) = (Fake::start("master").await, dead_address().await);
    let peers = format!("n0={};n1={dead}", fake.address).parse().unwrap();
    let client = Client::builder(peers, "other".parse().unwrap()).timeout(TIMEOUT).build();
    let error = told(client.append("hello").await.unwrap_err());
    says(&error, &[&format!("{}: unknown group", fake.address), "name a group that is hosted there", &dead]);
}

#[tokio::test]
async fn a_record_over_the_limit_is_told_with_its_size_and_the_limit() {
    let fake = Fake::start("master").await;
    fake.set(|state| state.limit = Some(4));
    let error = append(&[&fake.address]).await;
    assert!(matches!(error, ClientError::TooLarge { size: 5, limit: 4, .. }), "{error}");
    says(&error, &["5", "4"]);
}

#[tokio::test]
async fn where_nothing_answers_the_addresses_are_to_be_checked() {
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (hung, dead) = (hung.local_addr().unwrap().to_string(), dead_address().await);
    for error in [append(&[&hung, &dead]).await, get(&[&hung, &dead]).await] {
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        says(&error, &["no node could be reached", &hung, &dead, "check the addresses and that the nodes run"]);
    }
}

#[tokio::test]
async fn an_append_that_another_one_s_end_overtakes_is_told_its_own_wait() {
    let fake = Fake::start("electing").await;
    let client = builder(&[&fake.address]).timeout(TIMEOUT).build();
    let first = client.submit(vec!["first".into()]).await.unwrap();
    fake.asked(3).await;
    let second = client.submit(vec!["second".into()]).await.unwrap();
    told(first.await.unwrap_err());
    let error = told(second.await.unwrap_err());
    says(&error, &["electing"]);
}

#[tokio::test]
async fn a_client_without_a_master_asks_ever_less_often() {
    let fake = Fake::start("electing").await;
    let client = builder(&[&fake.address]).timeout(Duration::from_secs(2)).build();
    let _ = told(client.append("hello").await.unwrap_err());
    // Every 25 ms, it would be eighty times.
    assert!(fake.times_asked() <= 40, "{}", fake.times_asked());
    assert!(fake.times_asked() >= 2);
}

#[tokio::test]
async fn a_master_that_a_node_names_is_asked_without_waiting_for_its_turn() {
    let (old, new) = (Fake::start("electing").await, Fake::start("electing").await);
    let client = builder(&[&old.address, &new.address]).build();
    let append = tokio::spawn(async move { client.append("hello").await });
    old.asked(8).await;
    new.set(|state| (state.role, state.term) = ("master", 2));
    old.set(|state| (state.role, state.term, state.master_address) = ("slave", 2, new.address.clone()));
    append.await.unwrap().unwrap();
    assert_eq!(new.log(), ["hello"]);
}

#[test]
fn outside_of_a_runtime_a_call_fails_by_name() {
    use futures::{FutureExt, StreamExt};

    let client = builder(&["127.0.0.1:1"]).build();
    let node = client.node(&0.into()).unwrap();
    let id = 0.into();
    let refused = [
        client.append("hello").now_or_never().map(|done| done.map(drop)),
        client.submit(vec!["hello".into()]).now_or_never().map(|done| done.map(drop)),
        client.get(0).now_or_never().map(|done| done.map(drop)),
        client.status(&id).now_or_never().map(|done| done.map(drop)),
        client.any_node().now_or_never().map(|done| done.map(drop)),
        client.remove_member(&id).now_or_never(),
        client.tail(0).next().now_or_never().flatten().map(|record| record.map(drop)),
        node.get(0).now_or_never().map(|done| done.map(drop)),
        node.read(0.., Default::default()).now_or_never().map(|done| done.map(drop)),
        node.tail(0).now_or_never().map(|done| done.map(drop)),
        node.members().now_or_never().map(|done| done.map(drop)),
        node.ledgers().now_or_never().map(|done| done.map(drop)),
    ];
    for (call, refused) in refused.into_iter().enumerate() {
        assert_eq!(refused, Some(Err(ClientError::NoRuntime)), "call {call}");
    }
}
