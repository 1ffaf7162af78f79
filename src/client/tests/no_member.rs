//! A client that was told only of a node that is a member no more.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use super::fake::{Fake, client};
use crate::client::cluster::search::Search;
use crate::types::Consistency;

/// A node that was removed when it had one record, and those that it names as members.
async fn removed(members: &[&Fake]) -> Fake {
    let fake = Fake::start("removed").await;
    fake.set(|state| {
        state.cluster = Some(1);
        state.members = members.iter().map(|member| member.address.clone()).collect();
        state.log = vec![Bytes::from("r0")];
    });
    fake
}

async fn member(role: &'static str, cluster: u128) -> Fake {
    let fake = Fake::start(role).await;
    fake.set(|state| (state.cluster, state.log) = (Some(cluster), vec![Bytes::from("r0"), Bytes::from("r1")]));
    fake
}

#[tokio::test]
async fn a_tail_at_a_node_that_was_removed_goes_on_at_the_members_it_names() {
    let (slave, gone) = (member("slave", 1).await, member("slave", 1).await);
    gone.set(|state| state.down = true);
    let removed = removed(&[&gone, &slave]).await;
    let records: Vec<_> = client(&[&removed.address]).tail(0).take(2).collect().await;
    let bodies: Vec<_> = records.into_iter().map(|record| record.unwrap().body).collect();
    assert_eq!(bodies, ["r0", "r1"]);
}

#[tokio::test]
async fn a_node_that_was_removed_names_who_takes_appends_and_has_what_it_lacks() {
    let (slave, master) = (member("slave", 1).await, member("master", 1).await);
    let removed = removed(&[&slave, &master]).await;
    assert_eq!(client(&[&removed.address]).get_with(1, Consistency::Lease).await.unwrap().body, "r1");
    assert_eq!(client(&[&removed.address]).append("r2").await.unwrap().index, 2);
    assert_eq!((removed.log().len(), master.log().len()), (1, 3));
}

#[tokio::test]
async fn a_node_of_another_cluster_by_now_where_a_member_was_is_not_gone_on_at() {
    let other = member("master", 2).await;
    let removed = removed(&[&other]).await;
    let client = client(&[&removed.address]);
    let error = client.append("r2").await.unwrap_err();
    assert!(error.to_string().contains("are not of one cluster"), "{error}");
    let records: Vec<_> = client.tail(0).collect().await;
    let error = records.into_iter().next_back().unwrap().unwrap_err();
    assert!(error.to_string().contains("are not of one cluster"), "{error}");
    assert_eq!(other.log().len(), 2);
}

/// By another search of the same client, or with an answer of before.
#[tokio::test]
async fn a_master_that_the_client_has_heard_of_meanwhile_is_asked_by_each_search() {
    let master = member("master", 1).await;
    let slave = member("slave", 1).await;
    slave.set(|state| state.master_address = master.address.clone());
    let client = client(&[&slave.address]);
    let mut search = Search::new(client.topology(), Instant::now());
    assert!(client.topology().learn(&master.address));
    let found = timeout(Duration::from_secs(10), search.master()).await.unwrap();
    assert_eq!(found, Ok(master.address.clone()));
}
