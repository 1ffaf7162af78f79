//! Nodes of two clusters among the peers of one client.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::net::TcpListener;

use super::fake::{Fake, Reaction, builder, client};
use crate::client::ClientError;
use crate::error::Outcome;
use crate::types::{Incarnation, ReadLimit};

/// A node of the cluster with this incarnation.
async fn of(cluster: u128, role: &'static str) -> Fake {
    let fake = Fake::start(role).await;
    fake.set(|state| state.cluster = Some(cluster));
    fake
}

/// Says that the error names both clusters and their nodes.
fn names_both(error: &ClientError, one: &Fake, other: &Fake) {
    let said = error.to_string();
    for word in [&one.address, &other.address, &Incarnation::from_u128(1).to_string()] {
        assert!(said.contains(word), "{word} is not in {said:?}");
    }
    assert!(said.contains(&Incarnation::from_u128(2).to_string()), "{said:?}");
    assert_eq!(error.outcome(), Outcome::Refused);
}

#[tokio::test]
async fn a_client_that_was_given_nodes_of_two_clusters_appends_to_neither() {
    for turned in [false, true] {
        let (one, other) = (of(1, "master").await, of(2, "master").await);
        let (first, second) = if turned { (&other, &one) } else { (&one, &other) };
        let client = client(&[&first.address, &second.address]);
        for _ in 0..3 {
            names_both(&client.append("hello").await.unwrap_err(), &one, &other);
        }
        names_both(&client.get(0).await.unwrap_err(), &one, &other);
        names_both(&client.read(0.., ReadLimit::default()).await.unwrap_err(), &one, &other);
        assert_eq!((one.log().len(), other.log().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_node_of_another_cluster_that_a_client_is_led_to_is_not_appended_to() {
    let (slave, stray) = (of(1, "slave").await, of(2, "master").await);
    slave.set(|state| state.master_address = stray.address.clone());
    let client = client(&[&slave.address]);
    names_both(&client.append("hello").await.unwrap_err(), &slave, &stray);
    assert_eq!(stray.log().len(), 0);
}

#[tokio::test]
async fn a_master_that_was_lost_is_not_replaced_by_one_of_another_cluster() {
    let (one, other) = (of(1, "master").await, of(2, "master").await);
    other.set(|state| state.down = true);
    let client = client(&[&one.address, &other.address]);
    client.append("hello").await.unwrap();
    // The only one of its cluster that the client knows; and the append that was sent to it is not known to be lost.
    one.set(|state| (state.down, state.role) = (true, "electing"));
    one.set(|state| state.reactions.push_back(Reaction::Break));
    other.set(|state| state.down = false);
    let _ = client.append("lost").await;
    names_both(&client.append("again").await.unwrap_err(), &one, &other);
    assert_eq!(other.log().len(), 0);
}

#[tokio::test]
async fn once_the_nodes_are_of_one_cluster_the_client_goes_on() {
    let (one, other) = (of(1, "master").await, of(2, "master").await);
    let client = client(&[&one.address, &other.address]);
    names_both(&client.append("refused").await.unwrap_err(), &one, &other);
    // Its directory was emptied: it waits to be added.
    other.set(|state| (state.role, state.cluster) = ("electing", None));
    client.append("hello").await.unwrap();
    other.set(|state| (state.role, state.cluster) = ("slave", Some(1)));
    client.append("again").await.unwrap();
    assert_eq!(one.log(), ["hello", "again"]);
}

#[tokio::test]
async fn a_stray_that_is_gone_is_forgotten_and_one_that_comes_back_is_not_taken_for_the_own_cluster() {
    for silent in [false, true] {
        let (one, stray) = (of(1, "master").await, of(2, "master").await);
        let client = client(&[&one.address, &stray.address]);
        names_both(&client.append("refused").await.unwrap_err(), &one, &stray);
        stray.set(|state| (state.down, state.silent) = (!silent, silent));
        client.append("hello").await.unwrap();
        client.get(0).await.unwrap();
        stray.set(|state| (state.down, state.silent) = (false, false));
        one.set(|state| state.reactions.push_back(Reaction::Break));
        let _ = client.append("lost").await;
        names_both(&client.append("refused").await.unwrap_err(), &one, &stray);
        stray.set(|state| (state.down, state.silent) = (!silent, silent));
        client.append("again").await.unwrap();
        // What is silent now is the own cluster: nobody else takes its place.
        one.set(|state| (state.down, state.silent) = (!silent, silent));
        one.set(|state| state.reactions.push_back(Reaction::Break));
        stray.set(|state| (state.down, state.silent) = (false, false));
        let _ = client.append("lost").await;
        names_both(&client.append("refused").await.unwrap_err(), &one, &stray);
        assert_eq!((one.log(), stray.log().len()), (vec!["hello".into(), "again".into()], 0));
    }
}

#[tokio::test]
async fn a_node_of_another_cluster_that_a_refusal_names_is_not_appended_to() {
    let (one, stray) = (of(1, "master").await, of(2, "master").await);
    let client = client(&[&one.address]);
    client.append("hello").await.unwrap();
    one.set(|state| state.reactions.push_back(one.not_master(&stray.address)));
    names_both(&client.append("refused").await.unwrap_err(), &one, &stray);
    assert_eq!((one.log().len(), stray.log().len()), (1, 0));
}

#[tokio::test]
async fn a_peer_that_says_nothing_does_not_keep_a_client_from_its_master() {
    let master = of(1, "master").await;
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    let client = builder(&[&silent.1, &master.address]).timeout(Duration::from_secs(60)).build();
    client.append("hello").await.unwrap();
    assert_eq!(master.log(), ["hello"]);
}

#[tokio::test]
async fn a_tail_does_not_go_on_at_a_node_of_another_cluster() {
    let (one, other) = (of(1, "master").await, of(2, "master").await);
    for node in [&one, &other] {
        node.set(|state| state.log = (0..9).map(|i| Bytes::from(format!("r{i}"))).collect());
    }
    one.set(|state| state.tail_breaks_after = Some(3));
    let client = client(&[&one.address, &other.address]);
    let mut tail = client.tail(0);
    for index in 0..3 {
        assert_eq!(tail.next().await.unwrap().unwrap().index, index);
    }
    names_both(&tail.next().await.unwrap().unwrap_err(), &one, &other);
}

#[tokio::test]
async fn a_tail_asks_each_node_that_it_begins_at_once_of_which_cluster_it_is() {
    let (one, other) = (of(1, "master").await, of(1, "slave").await);
    for fake in [&one, &other] {
        fake.set(|state| state.log = (0..3).map(|n| format!("r{n}").into()).collect());
    }
    one.set(|state| state.tail_breaks_after = Some(2));
    let mut records = client(&[&one.address, &other.address]).tail(0);
    for index in 0..3 {
        assert_eq!(records.next().await.unwrap().unwrap().index, index);
    }
    assert_eq!((one.times_asked(), other.times_asked()), (1, 1));
}
