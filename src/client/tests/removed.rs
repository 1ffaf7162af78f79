//! What one node has removed may be on another.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::net::TcpListener;

use super::fake::{Fake, builder, client, dead_address};
use crate::client::ClientError;
use crate::types::{Consistency, ReadLimit};

/// Nodes with ten records each, of which those below these indexes have been removed. The first one is master.
async fn begin_at<const N: usize>(firsts: [u64; N]) -> [Fake; N] {
    let mut roles = std::iter::once("master").chain(std::iter::repeat("slave"));
    let nodes = firsts.map(|first| (first, roles.next().unwrap()));
    let nodes = futures::future::join_all(nodes.map(|(first, role)| async move {
        let fake = Fake::start(role).await;
        fake.set(|state| {
            state.first = first;
            state.log = (0..10).map(|i| Bytes::from(format!("r{i}"))).collect();
        });
        fake
    }));
    nodes.await.try_into().ok().unwrap()
}

fn addresses(nodes: &[Fake]) -> Vec<&str> {
    nodes.iter().map(|node| node.address.as_str()).collect()
}

#[tokio::test]
async fn what_one_node_has_removed_is_read_from_one_that_has_it() {
    let nodes = begin_at([7, 5, 2]).await;
    let client = client(&addresses(&nodes));
    assert_eq!(client.get(3).await.unwrap().body, "r3");
    assert_eq!(client.get_with(3, Consistency::Lease).await.unwrap().body, "r3");
    let records = client.read(2.., ReadLimit::records(2)).await.unwrap();
    assert_eq!(records.iter().map(|record| record.index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(client.read_with(6.., ReadLimit::default(), Consistency::Local).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_nobody_has_was_removed_and_the_lowest_index_that_anybody_has_is_named() {
    let nodes = begin_at([7, 4, 5]).await;
    let client = client(&addresses(&nodes));
    let removed = ClientError::Removed { index: 3, first: 4 };
    assert_eq!(client.get(3).await.unwrap_err(), removed);
    assert_eq!(client.read(3.., ReadLimit::default()).await.unwrap_err(), removed);
    assert_eq!(client.tail(3).next().await.unwrap().unwrap_err(), removed);
}

#[tokio::test]
async fn what_was_removed_is_said_to_be_whatever_the_others_say() {
    let [master, behind, broken] = begin_at([7, 0, 0]).await;
    behind.set(|state| state.log.truncate(2));
    broken.set(|state| state.down = true);
    let client = client(&[&master.address, &behind.address, &broken.address, &dead_address().await]);
    let removed = ClientError::Removed { index: 3, first: 7 };
    assert_eq!(client.get(3).await.unwrap_err(), removed);
    assert_eq!(client.node(&0.into()).unwrap().get(3).await.unwrap_err(), removed);
}

#[tokio::test]
async fn a_tail_of_what_one_node_has_removed_goes_on_at_one_that_has_it() {
    let nodes = begin_at([7, 5, 2]).await;
    let records = client(&addresses(&nodes)).tail(3);
    let indexes: Vec<_> = records.take(7).map_ok(|record| record.index).try_collect().await.unwrap();
    assert_eq!(indexes, (3..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_tail_of_what_was_removed_ends_though_others_are_behind_or_silent() {
    let [master, behind] = begin_at([7, 0]).await;
    behind.set(|state| state.log.truncate(2));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    let addresses = [master.address.as_str(), &behind.address, &silent.1];
    let client = builder(&addresses).timeout(Duration::from_secs(1)).build();
    let ended = tokio::time::timeout(Duration::from_secs(5), client.tail(3).next()).await;
    assert_eq!(ended.unwrap().unwrap().unwrap_err(), ClientError::Removed { index: 3, first: 7 });
}
