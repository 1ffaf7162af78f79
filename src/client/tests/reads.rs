//! Reads: any node will do, a pinned one must.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::fake::{Fake, builder, client, dead_address};
use crate::client::{Client, ClientError, RecordStream};
use crate::types::{Consistency, ReadLimit, Record};

async fn with_log(role: &'static str, records: usize) -> Fake {
    let fake = Fake::start(role).await;
    fake.set(|state| state.log = (0..records).map(|i| Bytes::from(format!("r{i}"))).collect());
    fake
}

async fn take(records: RecordStream, count: usize) -> Vec<u64> {
    records.take(count).map_ok(|record| record.index).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_read_takes_the_node_that_answers() {
    let (dead, slave) = (dead_address().await, with_log("slave", 3).await);
    let client = client(&[&dead, &slave.address]);
    assert_eq!(client.get(2).await.unwrap().body, "r2");
    let records = client.read(1.., ReadLimit::default()).await.unwrap();
    assert_eq!(records.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(client.read(0.., ReadLimit::records(1)).await.unwrap().len(), 1);
    assert_eq!(client.any_node().await.unwrap().address(), slave.address);
}

#[tokio::test]
async fn a_read_prefers_the_master() {
    let (slave, master) = (with_log("slave", 0).await, with_log("master", 1).await);
    assert_eq!(client(&[&slave.address, &master.address]).get(0).await.unwrap().body, "r0");
}

/// That it compiles is the test: a call that cannot move to another thread cannot be spawned.
#[tokio::test]
async fn reads_can_be_made_in_a_task() {
    async fn all(client: &Client) -> Result<u64, ClientError> {
        let record = client.get_with(0, Consistency::Local).await?;
        let records = client.read_with(record.index.., ReadLimit::default(), Consistency::Local).await?;
        client.any_node().await?;
        Ok(client.get(0).await?.index + client.read(0.., ReadLimit::records(1)).await?.len() as u64 + records[0].index)
    }
    let master = with_log("master", 2).await;
    let client = client(&[&master.address]);
    assert_eq!(tokio::spawn(async move { all(&client).await }).await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_pinned_read_is_from_that_node_or_fails() {
    let (dead, other) = (dead_address().await, with_log("master", 3).await);
    let client = client(&[&dead, &other.address]);
    let error = client.node(&0.into()).unwrap().get(0).await.unwrap_err();
    assert!(matches!(&error, ClientError::Broken { address, .. } if *address == dead), "{error}");
    assert_eq!(client.status(&1.into()).await.unwrap().committed, 3);
    let index = client.node(&1.into()).unwrap().get(7).await.unwrap_err();
    assert_eq!(index, ClientError::NotYet { index: 7, committed: 3 });
}

#[tokio::test]
async fn what_can_be_read_is_what_a_node_says_that_serves() {
    let (closed, serves) = (with_log("closed", 9).await, with_log("slave", 5).await);
    serves.set(|state| state.first = 2);
    let client = client(&[&closed.address, &serves.address]);
    assert_eq!(client.range().await.unwrap(), 2..5);
    let error = client.node(&0.into()).unwrap().range().await.unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn a_read_takes_the_range_that_is_asked_for() {
    let slave = with_log("slave", 5).await;
    slave.set(|state| state.first = 2);
    let client = client(&[&slave.address]);
    let all = ReadLimit::default();
    let indexes = |read: Result<Vec<Record>, ClientError>| -> Vec<u64> {
        read.unwrap().into_iter().map(|record| record.index).collect()
    };
    assert_eq!(indexes(client.read(.., all).await), [2, 3, 4]);
    assert_eq!(indexes(client.read(..4, all).await), [2, 3]);
    assert_eq!(indexes(client.read(2..=2, all).await), [2]);
    assert_eq!(indexes(client.read(3..9, ReadLimit::records(1)).await), [3]);
    assert_eq!(indexes(client.read(3..9, all).await), [3, 4]);
    for nothing in [client.read(5.., all).await, client.read(4..4, all).await, client.read(..1, all).await] {
        assert!(indexes(nothing).is_empty());
    }
    let not_yet = client.read(5..9, all).await.unwrap_err();
    assert_eq!(not_yet, ClientError::NotYet { index: 5, committed: 5 });
}

#[tokio::test]
async fn a_tail_goes_on_at_another_node_with_the_next_index() {
    let (one, two) = (with_log("master", 10).await, with_log("slave", 10).await);
    one.set(|state| state.tail_breaks_after = Some(4));
    let records = client(&[&one.address, &two.address]).tail(1);
    assert_eq!(take(records, 9).await, (1..10).collect::<Vec<_>>());
    assert!(one.set(|state| state.down), "the first one was read from");
}

#[tokio::test]
async fn a_pinned_tail_ends_with_its_node() {
    let one = with_log("master", 10).await;
    one.set(|state| state.tail_breaks_after = Some(4));
    let records = client(&[&one.address]).node(&0.into()).unwrap().tail(0).await.unwrap();
    let records: Vec<_> = records.collect().await;
    assert_eq!(records.len(), 5);
    assert!(matches!(records[4], Err(ClientError::Broken { .. })));
}

#[tokio::test]
async fn garbage_on_the_port_is_an_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n").await;
        }
    });
    let error = client(&[&address]).node(&0.into()).unwrap().get(0).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_tail_where_every_ledger_is_closed_ends_within_the_timeout() {
    let one = with_log("closed", 3).await;
    one.set(|state| state.closed = true);
    let client = builder(&[&one.address]).timeout(Duration::from_millis(500)).build();
    let records = client.tail(0);
    let all = tokio::time::timeout(Duration::from_secs(3), records.collect::<Vec<_>>()).await;
    let tails = one.set(|state| state.tails);
    assert!(tails < 200 && all.is_ok(), "{tails} tails opened in 3 s, ended: {}", all.is_ok());
}

#[tokio::test]
async fn a_tail_of_nodes_that_are_silent_ends_within_the_timeout() {
    let silent: Vec<_> = join_all((0..6).map(|_| TcpListener::bind("127.0.0.1:0"))).await;
    let addresses: Vec<_> =
        silent.iter().map(|listener| listener.as_ref().unwrap().local_addr().unwrap().to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let client = builder(&addresses).timeout(Duration::from_secs(1)).build();
    // Each for the whole timeout would be six seconds.
    let first = tokio::time::timeout(Duration::from_secs(4), client.tail(0).next()).await;
    let Ok(Some(Err(ClientError::Unreachable { tried, .. }))) = first else { panic!("{first:?}") };
    assert_eq!(tried.len(), 6, "{tried:?}");
}

#[tokio::test]
async fn a_timeout_without_end_is_cut_to_what_clocks_can_count() {
    let one = with_log("master", 3).await;
    let client = builder(&[&one.address]).timeout(Duration::MAX).build();
    assert_eq!(client.append("r3").await.unwrap().index, 3);
    assert_eq!(client.get(3).await.unwrap().body, "r3");
    assert_eq!(client.read(0.., ReadLimit::default()).await.unwrap().len(), 4);
    assert_eq!(take(client.tail(1), 3).await, [1, 2, 3]);
}
