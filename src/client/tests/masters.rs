//! Who the master is, as a client learns it.

use std::time::Duration;

use futures::StreamExt;

use super::fake::{Fake, builder, client, name_of};
use crate::client::masters::Masters;
use crate::client::{Client, ClientError};
use crate::types::{Master, Peers};

/// No test is to wait for a look that nothing makes necessary.
const NEVER: Duration = Duration::from_secs(3600);

async fn next(masters: &mut Masters) -> Option<(u64, String)> {
    let master: Option<Master> = masters.next().await.unwrap().unwrap();
    master.map(|master| (master.term, master.member.id.to_string()))
}

fn of(term: u64, fake: &Fake) -> Option<(u64, String)> {
    Some((term, name_of(&fake.address)))
}

fn looks(client: &Client, look: Duration) -> Masters {
    Masters::new(client.topology().clone(), client.timeout(), look)
}

/// Makes it the master of a term, or of none.
fn becomes(fake: &Fake, role: &'static str, term: u64) {
    fake.set(|state| {
        (state.role, state.term) = (role, term);
        state.master_address = if role == "master" { fake.address.clone() } else { String::new() };
    });
}

#[tokio::test]
async fn every_change_of_the_master_is_told() {
    let (one, two) = (Fake::start("slave").await, Fake::start("slave").await);
    becomes(&two, "master", 3);
    let mut masters = client(&[&one.address, &two.address]).masters();
    assert_eq!(next(&mut masters).await, of(3, &two));
    becomes(&two, "slave", 3);
    assert_eq!(next(&mut masters).await, None);
    becomes(&one, "master", 4);
    assert_eq!(next(&mut masters).await, of(4, &one));
    // Elected anew before anybody asked: another term, and no gap that anybody saw.
    becomes(&one, "master", 6);
    assert_eq!(next(&mut masters).await, of(6, &one));
    one.set(|state| state.down = true);
    assert_eq!(next(&mut masters).await, None);
    becomes(&two, "master", 7);
    assert_eq!(next(&mut masters).await, of(7, &two));
}

#[tokio::test]
async fn what_an_append_finds_out_is_told_at_once() {
    let (one, two) = (Fake::start("slave").await, Fake::start("slave").await);
    becomes(&one, "master", 1);
    let client = client(&[&one.address, &two.address]);
    let mut masters = looks(&client, NEVER);
    client.append("r0").await.unwrap();
    assert_eq!(next(&mut masters).await, of(1, &one));
    becomes(&one, "slave", 1);
    becomes(&two, "master", 2);
    client.append("r0").await.unwrap();
    assert_eq!(next(&mut masters).await, None);
    assert_eq!(next(&mut masters).await, of(2, &two));
}

#[tokio::test]
async fn a_master_of_an_earlier_term_is_none() {
    let (one, two) = (Fake::start("slave").await, Fake::start("slave").await);
    becomes(&one, "master", 5);
    let mut masters = client(&[&one.address, &two.address]).masters();
    assert_eq!(next(&mut masters).await, of(5, &one));
    becomes(&one, "slave", 5);
    becomes(&two, "master", 4);
    assert_eq!(next(&mut masters).await, None);
    let more = two.times_asked() + 8;
    tokio::select! {
        () = two.asked(more) => {}
        master = masters.next() => panic!("{master:?}"),
    }
    becomes(&two, "master", 5);
    assert_eq!(next(&mut masters).await, of(5, &two));
}

#[tokio::test]
async fn that_there_is_none_at_first_is_told_once_the_time_is_up() {
    let one = Fake::start("electing").await;
    let mut masters = builder(&[&one.address]).timeout(Duration::from_millis(50)).build().masters();
    assert_eq!(next(&mut masters).await, None);
    let more = one.times_asked() + 4;
    tokio::select! {
        () = one.asked(more) => {}
        master = masters.next() => panic!("told again: {master:?}"),
    }
    becomes(&one, "master", 1);
    assert_eq!(next(&mut masters).await, of(1, &one));
}

#[tokio::test]
async fn where_no_waiting_helps_it_ends_with_why() {
    let one = Fake::start("master").await;
    let peers: Peers = format!("n0={}", one.address).parse().unwrap();
    let mut masters = Client::builder(peers, "other".parse().unwrap()).build().masters();
    let error = masters.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::UnknownGroup { .. }), "{error}");
    assert!(masters.next().await.is_none());

    let (mine, theirs) = (Fake::start("slave").await, Fake::start("slave").await);
    mine.set(|state| state.cluster = Some(1));
    theirs.set(|state| state.cluster = Some(2));
    becomes(&mine, "master", 1);
    let error = client(&[&mine.address, &theirs.address]).masters().next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::TwoClusters { .. }), "{error}");
}
