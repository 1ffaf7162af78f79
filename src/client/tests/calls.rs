//! What a call may be told: its own timeout, and the one term in which it may append.

use std::time::Duration;

use super::fake::{Fake, builder, client, dead_address};
use crate::client::ClientError;
use crate::error::Outcome;

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_call_ends_at_its_own_timeout_behind_one_that_waits_for_longer() {
    let fake = Fake::start("electing").await;
    let client = client(&[&fake.address]);
    let long = client.with_timeout(Duration::MAX).submit(vec!["long".into()]).await.unwrap();
    fake.asked(2).await;
    let error = client.with_timeout(SHORT).append("short").await.unwrap_err();
    let ClientError::NoMaster { waited, .. } = error else { panic!("{error}") };
    assert!(waited >= SHORT);
    let dead = dead_address().await;
    let reads = builder(&[&dead]).timeout(Duration::MAX).build().with_timeout(SHORT);
    let ends = async {
        assert!(matches!(reads.get(0).await, Err(ClientError::Unreachable { .. })));
        assert!(matches!(futures::StreamExt::next(&mut reads.tail(0)).await, Some(Err(_))));
    };
    tokio::time::timeout(Duration::from_secs(60), ends).await.expect("a read has the time of its own call");
    // The long one goes on.
    fake.set(|state| state.role = "master");
    long.await.unwrap();
    assert_eq!(fake.log(), ["long"]);
}

#[tokio::test]
async fn an_append_for_one_term_keeps_it_through_every_try() {
    let (old, new) = (Fake::start("master").await, Fake::start("slave").await);
    let client = client(&[&old.address, &new.address]);
    client.append("free").await.unwrap();
    // Refused, and sent on to the next one: which is master of another term by then.
    old.set(|state| state.reactions.push_back(old.not_master(&new.address)));
    old.set(|state| state.role = "slave");
    new.set(|state| (state.role, state.term) = ("master", 2));
    let error = client.in_term(1).append("decided in term 1").await.unwrap_err();
    assert_eq!(error, ClientError::Fenced { term: 1 });
    assert_eq!(error.outcome(), Outcome::Refused);
    assert_eq!(
        (old.set(|state| state.terms.clone()), new.set(|state| state.terms.clone())),
        (vec![None, Some(1)], vec![Some(1)])
    );
    // The others are free to go on, and one session carries both kinds.
    client.append("free").await.unwrap();
    assert!(matches!(client.in_term(1).append("late").await, Err(ClientError::Fenced { term: 1 })));
    assert_eq!(new.log(), ["free"]);
}

#[tokio::test]
async fn a_node_that_heeds_no_term_is_not_believed() {
    // It acknowledges everything as of term 1.
    let fake = Fake::start("master").await;
    let client = client(&[&fake.address]);
    let error = client.in_term(7).append("for term 7").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
}
