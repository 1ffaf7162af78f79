//! Bad input: each a typed error that says what was found, what was expected and what to do. Nothing panics, nothing
//! is lost.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use dledger::{
    AppendError, CreateLedgerError, Node, NodeBuilder, NodeId, OpenError, Outcome, Peers, PeersError, ReadError,
    StartError,
};

use crate::common::{GROUP, kit, master_ledger, patient};

fn single(dir: &std::path::Path) -> NodeBuilder {
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(GROUP.parse().unwrap());
    builder.data_dir(dir).segment_size(32 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let builder = Node::builder(NodeId::new(0), &address).single().group(GROUP.parse().unwrap()).data_dir(dir.path());
    match builder.start().await {
        Err(StartError::Bind { address: found, .. }) => assert_eq!(found, address),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_id_must_be_among_the_peers() {
    let dir = tempfile::tempdir().unwrap();
    let peers: Peers = "n1-127.0.0.1:1;n2-127.0.0.1:2".parse().unwrap();
    match single(dir.path()).peers(peers).configure(|config| config.single = false).start().await {
        Err(StartError::Peers(PeersError::OwnIdMissing { id, .. })) => assert_eq!(id, NodeId::new(0)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_starts_though_it_is_not_among_the_peers_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let peers = |text: &str| text.parse::<Peers>().unwrap();
    let unlisted = || {
        let list = peers("n1-127.0.0.1:1;n2-127.0.0.1:2");
        single(dir.path()).peers(list).configure(|config| config.single = false)
    };
    // It was started, and is no member: the others never came.
    let waiting = single(dir.path()).peers(peers("n0-127.0.0.1:3;n1-127.0.0.1:1"));
    let place = kit(1).down().unwrap();
    let bind = place.address(0).unwrap().to_owned();
    let waiting = waiting.configure(|config| (config.single, config.bind) = (false, bind));
    waiting.start().await.unwrap().shutdown().await;
    let refused = unlisted().start().await;
    assert!(matches!(refused, Err(StartError::Peers(PeersError::OwnIdMissing { .. }))), "{refused:?}");

    let member = single(dir.path()).start().await.unwrap();
    patient(member.ledger(GROUP).unwrap().append("record")).await.unwrap();
    member.shutdown().await;
    let again = unlisted().start().await.unwrap();
    assert_eq!(patient(again.ledger(GROUP).unwrap().append("another")).await.unwrap().index, 1);
    // Of a ledger that it does not have yet, it is no member.
    let refused = again.create_ledger("new".parse().unwrap()).await;
    let missing = |error: &StartError| matches!(error, StartError::Peers(PeersError::OwnIdMissing { .. }));
    assert!(matches!(&refused, Err(CreateLedgerError::Start(error)) if missing(error)), "{refused:?}");
    assert!(!dir.path().join("new").exists());
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_something_else_is_refused_by_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    single(dir.path()).start().await.unwrap().shutdown().await;
    let cases: [(&str, NodeBuilder); 3] = [
        ("cluster", single(dir.path()).cluster("other".parse().unwrap())),
        ("node", single(dir.path()).configure(|config| config.id = NodeId::new(7))),
        ("segment size", single(dir.path()).segment_size(64 << 20)),
    ];
    for (expected, builder) in cases {
        match builder.start().await {
            Err(StartError::Open(OpenError::Foreign { mismatch, .. })) => assert_eq!(mismatch.what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    single(dir.path()).start().await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused_and_its_owner_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let owner = single(dir.path()).start().await.unwrap();
    match single(dir.path()).configure(|config| config.lock_wait = Duration::ZERO).start().await {
        Err(StartError::Open(OpenError::Locked { dir: found, pid })) => {
            assert_eq!(found, dir.path().join(GROUP));
            assert!(pid.is_none_or(|pid| pid == std::process::id()), "{pid:?}");
        }
        other => panic!("{other:?}"),
    }
    patient(owner.ledger(GROUP).unwrap().append("still here")).await.unwrap();
    owner.shutdown().await;
}

/// An orchestrator starts the next process while the last one still ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let owner = single(dir.path()).start().await.unwrap();
    patient(owner.ledger(GROUP).unwrap().append("first")).await.unwrap();
    let mut next = std::pin::pin!(single(dir.path()).start());
    // It is begun, and waits: nothing but the end of the other lets it go on.
    assert!(futures::poll!(next.as_mut()).is_pending());
    patient(owner.ledger(GROUP).unwrap().append("second")).await.unwrap();
    assert!(futures::poll!(next.as_mut()).is_pending());
    owner.shutdown().await;
    drop(owner);
    let node = next.await.unwrap();
    assert_eq!(patient(node.ledger(GROUP).unwrap().append("third")).await.unwrap().index, 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_over_the_limit_and_empty_batches_are_refused_and_take_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let node = single(dir.path()).start().await.unwrap();
    let ledger = node.ledger(GROUP).unwrap();
    let limit = 4 << 20;
    patient(ledger.append(vec![1; limit])).await.unwrap();
    let error = patient(ledger.append(vec![1; limit + 1])).await.unwrap_err();
    assert_eq!(error, AppendError::TooLarge { what: "record", size: limit + 1, limit });
    assert_eq!(error.outcome(), Outcome::Refused);
    let error = patient(ledger.append_batch(vec![vec![1; limit]; 3])).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { what: "batch", .. }), "{error}");
    let error = patient(ledger.append_batch(Vec::<Vec<u8>>::new())).await.unwrap_err();
    assert_eq!(error, AppendError::EmptyBatch);
    assert_eq!(patient(ledger.append("next")).await.unwrap().index, 1);
    assert_eq!(ledger.get(2).await.unwrap_err(), ReadError::NotYet { index: 2, committed: 2 });
    node.shutdown().await;
    let error = patient(ledger.append("late")).await.unwrap_err();
    assert!(matches!(error, AppendError::Closed { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_bytes_in_flight_try_submit_is_busy_and_append_waits() {
    let cluster = kit(3).configure(|config| config.max_inflight_bytes = 1 << 20).start().await.unwrap();
    let master = master_ledger(&cluster).await;
    let mut pending = Vec::new();
    let busy = loop {
        match master.try_submit(vec![vec![7; 200 << 10].into()]) {
            Ok(outcome) => pending.push(outcome),
            Err(error) => break error,
        }
        assert!(pending.len() < 10_000, "it is never busy");
    };
    assert_eq!(busy, AppendError::Busy { inflight_limit: 1 << 20 });
    patient(master.append("waits its turn")).await.unwrap();
    for outcome in pending {
        patient(outcome).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let node = dledger::server::serve(single(dir.path())).await.unwrap();
    let address = node.local_addr();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff"]
    {
        let mut stream = TcpStream::connect(address).unwrap();
        // The node may close at any byte.
        let _ = stream.write_all(garbage);
    }
    let peers: Peers = format!("n0={address}").parse().unwrap();
    let client = dledger::Client::builder(peers, GROUP.parse().unwrap()).build();
    assert_eq!(patient(client.append("fine")).await.unwrap().index, 0);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_different_clusters_do_not_form_one() {
    let mut cluster = kit(2).down().unwrap();
    for (n, name) in ["one", "two"].into_iter().enumerate() {
        cluster.restart_with(n, |builder| builder.cluster(name.parse().unwrap())).await.unwrap();
    }
    let ledger = cluster.ledger(0).unwrap();
    let pending = ledger.submit(vec!["x".into()], Some(Duration::from_millis(700))).await.unwrap();
    let error = patient(pending).await.unwrap_err();
    assert!(matches!(error, AppendError::NoMaster { .. }), "{error}");
    assert_eq!(cluster.ledger(1).unwrap().status().term, 0);
    cluster.stop_all().await;
}
