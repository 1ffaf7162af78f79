//! Reads that promise something, on every node; streams that are read slowly, and through failovers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dledger::testkit::Cluster;
use dledger::{Client, ClientError, Consistency, Ledger, ReadError, ReadLimit, Role};
use futures::{StreamExt, TryStreamExt};

use crate::common::{kit, master_ledger, patient};

const PROMISES: [Consistency; 2] = [Consistency::Lease, Consistency::Linearizable];

fn client(cluster: &Cluster) -> Client {
    cluster.client_builder().timeout(Duration::from_secs(30)).build()
}

async fn append(ledger: &Ledger, n: u64) {
    assert_eq!(patient(ledger.append(format!("record {n}"))).await.unwrap().index, n);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promised_read_sees_the_last_ack_on_every_node() {
    let cluster = kit(3).start().await.unwrap();
    let master = master_ledger(&cluster).await;
    for n in 0..30 {
        append(&master, n).await;
        // At once: nobody has told the others yet.
        for node in 0..3 {
            let consistency = PROMISES[n as usize % 2];
            let ledger = cluster.ledger(node).unwrap();
            let record = patient(ledger.get_with(n, consistency)).await.unwrap();
            assert_eq!(record.body, format!("record {n}"), "{consistency} on n{node}");
            let not_yet = patient(ledger.get_with(n + 1, consistency)).await;
            assert_eq!(not_yet, Err(ReadError::NotYet { index: n + 1, committed: n + 1 }));
            let all = patient(ledger.read_with(.., ReadLimit::default(), consistency)).await.unwrap();
            assert_eq!(all.len() as u64, n + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_needs_nobody_for_a_promise() {
    let cluster = kit(1).start().await.unwrap();
    let ledger = master_ledger(&cluster).await;
    append(&ledger, 0).await;
    for consistency in Consistency::ALL {
        assert_eq!(patient(ledger.barrier(consistency)).await, Ok(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_promised_read_is_refused_in_time_and_a_local_one_is_served() {
    let mut cluster = kit(3).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    append(&cluster.ledger(master).unwrap(), 0).await;
    cluster.wait_committed(1).await.unwrap();
    for n in (0..3).filter(|n| *n != master) {
        cluster.stop(n).await.unwrap();
    }
    let ledger = cluster.ledger(master).unwrap();
    let mut role = ledger.role();
    patient(role.wait_for(|role| !role.is_master())).await.unwrap();
    for consistency in PROMISES {
        let error = patient(ledger.barrier_within(consistency, Duration::from_millis(200))).await.unwrap_err();
        let refused = matches!(&error, ReadError::Unconfirmed { consistency: asked, .. } if *asked == consistency);
        assert!(refused, "{error}");
    }
    assert_eq!(ledger.get(0).await.unwrap().body, "record 0");
    cluster.stop_all().await;
    let closed = ledger.barrier(Consistency::Linearizable).await;
    assert!(matches!(closed, Err(ReadError::Closed { .. })), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promised_read_waits_for_the_next_master() {
    let mut cluster = kit(3).start().await.unwrap();
    let old = cluster.wait_for_master().await.unwrap();
    append(&cluster.ledger(old).unwrap(), 0).await;
    let slave = cluster.ledger(cluster.wait_for_slave().await.unwrap()).unwrap();
    cluster.stop(old).await.unwrap();
    for consistency in PROMISES {
        assert_eq!(patient(slave.get_with(0, consistency)).await.unwrap().body, "record 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_reads_keep_the_promise_on_every_node() {
    let cluster = kit(3).start().await.unwrap();
    let client = client(&cluster);
    let mut acks = Vec::new();
    for n in 0..10 {
        acks.push(patient(client.append(format!("record {n}"))).await.unwrap());
        let node = client.node(&(n % 3).into()).unwrap();
        let consistency = PROMISES[n as usize % 2];
        let last = acks[n as usize];
        assert_eq!(patient(node.get_with(n, consistency)).await.unwrap().position, last.position);
        assert_eq!(patient(node.get_at_position(last.position, consistency)).await.unwrap().index, n);
        let records: Vec<_> =
            node.read_stream_with(0.., ReadLimit::default(), consistency).await.unwrap().try_collect().await.unwrap();
        assert_eq!(records.len() as u64, n + 1);
        assert_eq!(patient(node.index_at(records[0].timestamp, consistency)).await.unwrap(), 0);
        assert_eq!(patient(node.index_at(u64::MAX, consistency)).await.unwrap(), n + 1);
    }
    let inside = acks[4].position + 1;
    let error = patient(client.get_at_position(inside, Consistency::Lease)).await.unwrap_err();
    let (before, after) = (Some(acks[4].position), Some(acks[5].position));
    assert!(
        matches!(&error, ClientError::NoRecordAt { position, before: b, after: a, .. }
            if (*position, *b, *a) == (inside, before, after)),
        "{error:?}"
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert_eq!(patient(client.index_at(now + 3_600_000, Consistency::Linearizable)).await.unwrap(), 10);
    assert_eq!(patient(client.read_with(7.., ReadLimit::default(), Consistency::Lease)).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_barrier_lies_behind_every_ack_on_every_node() {
    let cluster = kit(3).start().await.unwrap();
    let client = client(&cluster);
    for n in 0..9 {
        let ack = patient(client.append(format!("record {n}"))).await.unwrap();
        let consistency = PROMISES[n as usize % 2];
        assert_eq!(patient(client.barrier(consistency)).await, Ok(ack.index + 1));
        let node = client.node(&(n % 3).into()).unwrap();
        assert_eq!(patient(node.barrier(consistency)).await, Ok(ack.index + 1));
        assert!(patient(node.barrier(Consistency::Local)).await.unwrap() <= ack.index + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_promise_that_cannot_be_kept_says_why() {
    let mut cluster = kit(3).start().await.unwrap();
    patient(client(&cluster).append("record 0")).await.unwrap();
    cluster.wait_committed(1).await.unwrap();
    let last = cluster.wait_for_slave().await.unwrap();
    for n in (0..3).filter(|n| *n != last) {
        cluster.stop(n).await.unwrap();
    }
    let impatient = cluster.client_builder().timeout(Duration::from_secs(1));
    let node = impatient.build().node(&(last as u64).into()).unwrap();
    let error = patient(node.get_with(0, Consistency::Linearizable)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unconfirmed { consistency: Consistency::Linearizable, .. }), "{error}");
    let error = patient(node.barrier(Consistency::Linearizable)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unconfirmed { .. }), "{error}");
    assert_eq!(patient(node.get(0)).await.unwrap().body, "record 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_stream_ends_at_its_limit_or_at_what_is_committed() {
    let cluster = kit(1).start().await.unwrap();
    let ledger = master_ledger(&cluster).await;
    for n in 0..30_u8 {
        patient(ledger.append(vec![n; 100 << 10])).await.unwrap();
    }
    let indexes = async |stream: dledger::ReadStream| -> Result<Vec<u64>, ReadError> {
        stream.map_ok(|record| record.index).try_collect().await
    };
    let all = ReadLimit::bytes(usize::MAX);
    let (whole, some) = (ledger.read_stream(.., all), ledger.read_stream(5..=8, all));
    // What is committed later is no part of it.
    patient(ledger.append("later")).await.unwrap();
    assert_eq!(indexes(whole).await, Ok((0..30).collect()));
    assert_eq!(indexes(some).await, Ok(vec![5, 6, 7, 8]));
    assert_eq!(indexes(ledger.read_stream(29..1000, all)).await, Ok(vec![29, 30]));
    assert_eq!(indexes(ledger.read_stream(3.., ReadLimit::records(2))).await, Ok(vec![3, 4]));
    // The record that crosses the line is the last.
    assert_eq!(indexes(ledger.read_stream(3.., ReadLimit::bytes(150 << 10))).await, Ok(vec![3, 4]));
    assert_eq!(indexes(ledger.read_stream(31.., all)).await, Ok(vec![]));
    let beyond = ReadError::NotYet { index: 40, committed: 31 };
    assert_eq!(indexes(ledger.read_stream(40..41, all)).await, Err(beyond));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_not_read_holds_up_nobody_and_misses_nothing() {
    let cluster = kit(3).start().await.unwrap();
    let client = client(&cluster);
    let ledger = master_ledger(&cluster).await;
    patient(ledger.append(vec![0; 64 << 10])).await.unwrap();
    let mut local = ledger.tail(0);
    let mut remote = client.tail(0);
    assert_eq!(patient(local.next()).await.unwrap().unwrap().index, 0);
    assert_eq!(patient(remote.next()).await.unwrap().unwrap().index, 0);
    // Far more than fits into all windows and buffers on the way.
    for n in 1..400_u64 {
        assert_eq!(patient(ledger.append(vec![n as u8; 64 << 10])).await.unwrap().index, n);
    }
    // The same connection carries what others ask for.
    assert_eq!(patient(client.get(399)).await.unwrap().body.len(), 64 << 10);
    for n in 1..400 {
        let (near, far) = (patient(local.next()).await.unwrap(), patient(remote.next()).await.unwrap());
        assert_eq!((near.unwrap().index, far.unwrap().index), (n, n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_go_on_through_a_failover_without_a_gap_or_a_duplicate() {
    let mut cluster = kit(3).start().await.unwrap();
    let client = client(&cluster);
    for n in 0..10 {
        assert_eq!(patient(client.append(format!("record {n}"))).await.unwrap().index, n);
    }
    let old = cluster.wait_for_master().await.unwrap();
    let mut remote = client.tail(0);
    let mut local = cluster.ledger(cluster.wait_for_slave().await.unwrap()).unwrap().tail(0);
    assert_eq!(patient(remote.next()).await.unwrap().unwrap().index, 0);
    // The remote one reads from the master, and loses it.
    cluster.stop(old).await.unwrap();
    for n in 10..20 {
        assert_eq!(patient(client.append(format!("record {n}"))).await.unwrap().index, n);
    }
    for n in 0..20 {
        let record = patient(local.next()).await.unwrap().unwrap();
        assert_eq!((record.index, record.body), (n, format!("record {n}").into()));
    }
    for n in 1..20 {
        let record = patient(remote.next()).await.unwrap().unwrap();
        assert_eq!((record.index, record.body), (n, format!("record {n}").into()));
    }
    let mut role = cluster.ledger(cluster.running()[0]).unwrap().role();
    patient(role.wait_for(|role| !matches!(role, Role::Electing { .. }))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_what_the_node_knows() {
    let cluster = kit(3).start().await.unwrap();
    let client = client(&cluster);
    let ack = patient(client.append("record 0")).await.unwrap();
    cluster.wait_committed(1).await.unwrap();
    for n in 0..3 {
        let (ledger, node) = (cluster.ledger(n as usize).unwrap(), client.node(&n.into()).unwrap());
        let told = patient(async {
            loop {
                let (before, told, after) = (ledger.status(), node.status().await.unwrap(), ledger.status());
                // Not while it changes.
                if before == after {
                    break told == before;
                }
            }
        });
        assert!(told.await, "{:?} of {:?}", node.status().await, ledger.status());
        assert_eq!((ledger.range(), node.range().await.unwrap()), (0..1, 0..1));
        let all = ReadLimit::default();
        assert_eq!(node.read(.., all).await.unwrap(), ledger.read(.., all).await.unwrap());
        assert_eq!(node.read(..=0, all).await.unwrap(), ledger.read(..=0, all).await.unwrap());
        assert_eq!(node.read(1.., all).await.unwrap(), ledger.read(1.., all).await.unwrap());
        assert_eq!(node.read(1..3, all).await, Err(ClientError::NotYet { index: 1, committed: 1 }));
        assert_eq!(ledger.read(1..3, all).await, Err(ReadError::NotYet { index: 1, committed: 1 }));
        assert_eq!(node.ledgers().await.unwrap().0, n.into());
        assert_eq!(ledger.status().term, ack.term);
    }
}
