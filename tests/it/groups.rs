//! Many ledgers in one process: one port, one set of connections, nothing shared but that; and they come and go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use dledger::testkit::Cluster;
use dledger::{
    AppendError, Client, ClientError, ClosedKind, CreateLedgerError, Group, Ledger, LedgerError, LedgerFiles, Node,
    NodeId, ReadError, RemoveLedgerError, Role, StartError,
};

use crate::common::{GROUP, bodies, kit, patient};

#[tokio::test(flavor = "multi_thread")]
async fn two_ledgers_in_one_process_know_nothing_of_each_other() {
    let mut cluster = kit(3).group(group("orders")).group(group("payments")).start().await.unwrap();
    for group in ["orders", "payments"] {
        let master = cluster.wait_for_master_of(group).await.unwrap();
        let ledger = cluster.ledger_of(master, group).unwrap();
        for n in 0..20 {
            assert_eq!(patient(ledger.append(format!("{group} {n}"))).await.unwrap().index, n);
        }
    }
    for group in ["orders", "payments"] {
        cluster.wait_committed_of(group, 20).await.unwrap();
        for n in 0..3 {
            let expected: Vec<_> = (0..20).map(|n| format!("{group} {n}")).collect();
            assert_eq!(bodies(&cluster.ledger_of(n, group).unwrap()).await, expected);
        }
    }
    let error = cluster.node(0).unwrap().ledger("refunds").unwrap_err();
    assert_eq!(error.to_string(), "unknown group refunds: this node hosts g, orders, payments");
    cluster.stop_all().await;
}

/// The ledger, as that of the nodes has it which is its master.
async fn master(nodes: &[Node], group: &str) -> Ledger {
    let waits = nodes.iter().map(|node| {
        let ledger = node.ledger(group).unwrap();
        Box::pin(async move {
            ledger.role().wait_for(Role::is_master).await.unwrap();
            ledger
        })
    });
    patient(futures::future::select_all(waits)).await.0
}

fn group(name: &str) -> Group {
    name.parse().unwrap()
}

/// Hosts `name` on all nodes.
async fn create(nodes: &[Node], name: &str) -> Vec<Ledger> {
    let created = nodes.iter().map(|node| node.create_ledger(group(name)));
    patient(futures::future::try_join_all(created)).await.unwrap()
}

fn names(node: &Node) -> Vec<String> {
    node.ledgers().iter().map(|ledger| ledger.group().to_string()).collect()
}

/// Three nodes that run.
async fn three() -> (Cluster, Vec<Node>) {
    let cluster = kit(3).start().await.unwrap();
    let nodes = (0..3).map(|n| cluster.node(n).unwrap().clone()).collect();
    (cluster, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_created_on_running_nodes_and_removed_from_them() {
    let (mut cluster, nodes) = three().await;
    let created = create(&nodes, "late").await;
    assert_eq!(names(&nodes[0]), [GROUP, "late"]);
    let leader = master(&nodes, "late").await;
    patient(leader.append("kept")).await.unwrap();
    cluster.wait_committed_of("late", 1).await.unwrap();
    let twice = nodes[0].create_ledger(group("late")).await.unwrap_err();
    assert!(matches!(twice, CreateLedgerError::Hosted { .. }), "{twice}");

    let record = created[0].get(0).await.unwrap();
    for node in &nodes {
        patient(node.remove_ledger("late", LedgerFiles::Keep)).await.unwrap();
        assert_eq!(names(node), [GROUP]);
    }
    let unknown = nodes[0].remove_ledger("late", LedgerFiles::Keep).await.unwrap_err();
    assert!(matches!(unknown, RemoveLedgerError::Unknown(_)), "{unknown}");
    // Old handles say so; what was read stays readable.
    assert_eq!(*created[0].role().borrow(), Role::Stopped);
    assert!(matches!(created[0].get(0).await, Err(ReadError::Closed { .. })));
    assert!(matches!(patient(leader.append("x")).await, Err(AppendError::Closed { .. })));
    assert_eq!(record.body, "kept");
    // The other ledger has noticed nothing.
    patient(master(&nodes, GROUP).await.append("still here")).await.unwrap();

    // Its files are there: created again it takes up where it was.
    let again = create(&nodes, "late").await;
    let leader = master(&nodes, "late").await;
    assert_eq!(patient(leader.append("more")).await.unwrap().index, 1);
    cluster.wait_committed_of("late", 2).await.unwrap();
    for ledger in &again {
        assert_eq!(bodies(ledger).await, ["kept", "more"]);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_files_were_deleted_everywhere_begins_anew() {
    let (mut cluster, nodes) = three().await;
    create(&nodes, "short").await;
    patient(master(&nodes, "short").await.append("gone")).await.unwrap();
    for (n, node) in nodes.iter().enumerate() {
        patient(node.remove_ledger("short", LedgerFiles::Delete)).await.unwrap();
        assert!(!cluster.dir(n).join("short").exists());
        assert!(cluster.dir(n).join(GROUP).exists());
    }
    let again = create(&nodes, "short").await;
    assert_eq!(patient(master(&nodes, "short").await.append("new")).await.unwrap().index, 0);
    cluster.wait_committed_of("short", 1).await.unwrap();
    for ledger in &again {
        assert_eq!(bodies(ledger).await, ["new"]);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_removed_on_one_node_goes_on_without_it_and_with_it_once_it_is_back() {
    let (mut cluster, nodes) = three().await;
    let leader = master(&nodes, GROUP).await;
    patient(leader.append("one")).await.unwrap();
    let leads = nodes.iter().position(|node| node.ledger(GROUP).unwrap().role().borrow().is_master()).unwrap();
    // The master goes: the others elect another.
    patient(nodes[leads].remove_ledger(GROUP, LedgerFiles::Keep)).await.unwrap();
    let others: Vec<_> = nodes.iter().filter(|node| node.ledger(GROUP).is_ok()).cloned().collect();
    assert_eq!(others.len(), 2);
    patient(master(&others, GROUP).await.append("two")).await.unwrap();
    let back = patient(nodes[leads].create_ledger(group(GROUP))).await.unwrap();
    cluster.wait_committed_on(&[leads], 2).await.unwrap();
    assert_eq!(bodies(&back).await, ["one", "two"]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_created_is_said_and_leaves_nothing_behind() {
    let cluster = kit(1).down().unwrap();
    let node = cluster.node_builder(0).unwrap().start().await.unwrap();
    let foreign = cluster.dir(0).join("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("notes.txt"), "somebody's").unwrap();
    let error = node.create_ledger(group("foreign")).await.unwrap_err();
    assert!(matches!(error, CreateLedgerError::Start(_)) && error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(names(&node), [GROUP]);
    std::fs::remove_file(foreign.join("notes.txt")).unwrap();
    node.create_ledger(group("foreign")).await.unwrap();

    node.shutdown().await;
    let error = node.create_ledger(group("late")).await.unwrap_err();
    assert!(matches!(error, CreateLedgerError::Stopped { .. }), "{error}");
    let error = node.remove_ledger(GROUP, LedgerFiles::Delete).await.unwrap_err();
    assert!(matches!(error, RemoveLedgerError::Stopped { .. }), "{error}");
    assert!(cluster.dir(0).join(GROUP).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ledgers_come_and_go_side_by_side() {
    let cluster = kit(1).down().unwrap();
    let node = cluster.node_builder(0).unwrap().start().await.unwrap();
    // Also twice at once: one of the two is refused.
    let created = futures::future::join_all((0..20).map(|n| node.create_ledger(group(&format!("c{}", n / 2))))).await;
    assert_eq!(created.iter().filter(|created| created.is_ok()).count(), 10);
    let removed = futures::future::join_all((0..20).map(|n| {
        let node = node.clone();
        async move { node.remove_ledger(&format!("c{}", n / 2), LedgerFiles::Delete).await }
    }));
    assert_eq!(removed.await.iter().filter(|removed| removed.is_ok()).count(), 10);
    assert_eq!(names(&node), [GROUP]);
    let left: Vec<_> = std::fs::read_dir(cluster.dir(0)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [GROUP]);
    node.shutdown().await;
}

/// Damages what no other node has.
fn damage(cluster: &Cluster, n: usize, group: &str) {
    let identity = cluster.dir(n).join(group).join("identity");
    let mut bytes = std::fs::read(&identity).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&identity, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_opened_is_closed_and_the_others_serve() {
    let cluster = kit(1).down().unwrap();
    let several = || {
        let names = ["damaged", "foreign", "locked"].into_iter();
        let builder = names.fold(cluster.node_builder(0).unwrap(), |builder, name| builder.group(group(name)));
        builder.configure(|config| config.lock_wait = std::time::Duration::ZERO)
    };
    let node = several().start().await.unwrap();
    node.shutdown().await;
    damage(&cluster, 0, "damaged");
    std::fs::copy(cluster.dir(0).join(GROUP).join("identity"), cluster.dir(0).join("foreign/identity")).unwrap();
    let holder = hold(&cluster.dir(0).join("locked"));
    let error = several().strict().start().await.unwrap_err();
    assert!(matches!(error, StartError::Open(_)), "{error}");

    let node = dledger::server::serve(several()).await.unwrap();
    let ledger = node.ledger(GROUP).unwrap();
    patient(ledger.append("one")).await.unwrap();
    assert_eq!(names(&node), [GROUP]);
    let expected = [
        ("damaged", "is damaged", ClosedKind::Damaged),
        ("foreign", "belongs to group g", ClosedKind::Refused),
        ("locked", "is in use by this process", ClosedKind::InUse),
    ];
    for (name, why, kind) in expected {
        let Err(LedgerError::Closed { reason, .. }) = node.ledger(name) else { panic!("{name} is open") };
        assert!(reason.contains(why), "{reason}");
        let status = node.status(name).unwrap();
        assert_eq!((&status.role, status.end), (&Role::Closed { kind, reason: reason.clone() }, 0));
        // The same over the wire.
        let client = Client::builder(cluster.peers().clone(), group(name)).build();
        let remote = client.node(node.id()).unwrap();
        assert_eq!(remote.status().await.unwrap(), status);
        let error = remote.get(0).await.unwrap_err();
        assert!(matches!(error, ClientError::Closed { .. }), "{error}");
        let error = node.create_ledger(group(name)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(node.status(name).is_ok(), "it stays in view");
    }
    let roles: Vec<_> = node.statuses().iter().map(|s| format!("{} {}", s.group, s.role.name())).collect();
    assert_eq!(roles, ["damaged closed", "foreign closed", "g master", "locked closed"]);

    // The holder of `locked` lets go of it, and `damaged` is given up.
    drop(holder);
    patient(opened(&node, "locked").await.append("two")).await.unwrap();
    std::fs::remove_dir_all(cluster.dir(0).join("damaged")).unwrap();
    node.remove_ledger("damaged", LedgerFiles::Delete).await.unwrap();
    assert!(matches!(node.ledger("damaged"), Err(LedgerError::Unknown(_))));
    node.remove_ledger("foreign", LedgerFiles::Keep).await.unwrap();
    assert!(cluster.dir(0).join("foreign").exists());
    let created = patient(node.create_ledger(group("damaged"))).await.unwrap();
    assert_eq!(patient(created.append("anew")).await.unwrap().index, 0);
    assert_eq!(node.statuses().len(), 3);
    node.shutdown().await;
}

/// The ledger, once it is open.
async fn opened(node: &Node, name: &str) -> Ledger {
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    patient(async {
        loop {
            match node.ledger(name) {
                Ok(ledger) => return ledger,
                Err(_) => looks.tick().await,
            };
        }
    })
    .await
}

/// Locks the directory of a ledger, as another process that has it open.
fn hold(ledger: &Path) -> File {
    let holder = File::create(ledger.join("lock")).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    holder
}

/// The files of a directory and what is in them; of large ones, how long they are.
fn content(dir: &Path) -> BTreeMap<OsString, (u64, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let content = entries.map(|entry| {
        let length = entry.metadata().unwrap().len();
        (entry.file_name(), (length, if length > 4096 { Vec::new() } else { std::fs::read(entry.path()).unwrap() }))
    });
    content.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_known_to_be_of_the_ledger_are_not_deleted_with_it() {
    let cluster = kit(1).down().unwrap();
    let name = |n: usize| ["other-group", "other-node", "other-cluster", "damaged", "nameless", "in-use", "own"][n];
    let dir = |name: &str| cluster.dir(0).join(name);
    let several = || {
        let builder =
            (0..7).map(name).fold(cluster.node_builder(0).unwrap(), |builder, name| builder.group(group(name)));
        builder.configure(|config| config.lock_wait = std::time::Duration::ZERO)
    };
    several().start().await.unwrap().shutdown().await;
    let others = [(name(1), 7, "dledger"), (name(2), 0, "other")];
    for (name, id, of) in others {
        let elsewhere = cluster.dir(1);
        let builder = Node::builder(NodeId::new(id), "127.0.0.1:0").cluster(of.parse().unwrap()).single();
        let builder = builder.group(group(name)).data_dir(&elsewhere).segment_size(1 << 20).configure(|config| {
            (config.max_record_bytes, config.max_batch_bytes) = (256 << 10, 512 << 10);
        });
        builder.start().await.unwrap().shutdown().await;
        std::fs::rename(elsewhere.join(name).join("identity"), dir(name).join("identity")).unwrap();
        std::fs::remove_dir_all(&elsewhere).unwrap();
    }
    std::fs::copy(dir(GROUP).join("identity"), dir(name(0)).join("identity")).unwrap();
    damage(&cluster, 0, name(3));
    std::fs::remove_file(dir(name(4)).join("identity")).unwrap();
    let holder = hold(&dir(name(5)));
    // What is its own is deleted although it cannot be opened.
    std::fs::write(dir(name(6)).join("hard-state"), [0xff; 64]).unwrap();

    let node = several().start().await.unwrap();
    let why = ["belongs to group g", "belongs to node n7", "belongs to cluster other", "identity is damaged"];
    for (name, why) in (0..6).map(name).zip(why.into_iter().chain(["no identity file", "in use"])) {
        let before = content(&dir(name));
        let error = node.remove_ledger(name, LedgerFiles::Delete).await.unwrap_err();
        assert!(matches!(error, RemoveLedgerError::NotDeleted { .. }), "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
        assert_eq!(content(&dir(name)), before, "{name}");
        assert!(matches!(node.ledger(name), Err(LedgerError::Closed { .. })), "{name} stays in view");
        node.remove_ledger(name, LedgerFiles::Keep).await.unwrap();
    }
    assert!(matches!(node.ledger(name(6)), Err(LedgerError::Closed { .. })));
    node.remove_ledger(name(6), LedgerFiles::Delete).await.unwrap();
    assert!(!dir(name(6)).exists());
    assert_eq!(node.statuses().len(), 1);
    drop(holder);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_to_stay_starts_without_a_ledger_and_opens_those_that_become_free() {
    let cluster = kit(1).down().unwrap();
    let two = || {
        let builder = cluster.node_builder(0).unwrap().group(group("damaged"));
        builder.configure(|config| config.lock_wait = std::time::Duration::ZERO)
    };
    two().start().await.unwrap().shutdown().await;
    damage(&cluster, 0, "damaged");
    let holder = hold(&cluster.dir(0).join(GROUP));
    assert!(matches!(two().start().await, Err(StartError::Open(_) | StartError::Ledgers { .. })));
    assert!(matches!(two().stay().strict().start().await, Err(StartError::Open(_))));

    let node = two().stay().start().await.unwrap();
    let roles: Vec<_> = node.statuses().iter().map(|s| format!("{} {}", s.group, s.role.name())).collect();
    assert_eq!(roles, ["damaged closed", "g closed"]);
    drop(holder);
    patient(opened(&node, GROUP).await.append("one")).await.unwrap();
    assert!(matches!(node.ledger("damaged"), Err(LedgerError::Closed { .. })));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_which_no_ledger_can_be_opened_does_not_start_and_says_why_for_each() {
    let cluster = kit(1).down().unwrap();
    let two = || cluster.node_builder(0).unwrap().group(group("h"));
    two().start().await.unwrap().shutdown().await;
    for name in [GROUP, "h"] {
        damage(&cluster, 0, name);
    }
    match two().start().await {
        Err(StartError::Ledgers { failed }) => {
            let named: Vec<_> = failed.iter().map(|(group, _)| group.as_str()).collect();
            assert_eq!(named, [GROUP, "h"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_end_of_all_ledgers_is_told_of_the_last_one_and_of_the_reasons() {
    let cluster = kit(1).down().unwrap();
    let two = || cluster.node_builder(0).unwrap().group(group("h"));
    two().start().await.unwrap().shutdown().await;
    damage(&cluster, 0, "h");
    let node = two().start().await.unwrap();
    let waiting = node.clone();
    let closed = tokio::spawn(async move { waiting.closed().await });
    // One serves, and one more comes and goes: not yet.
    patient(node.ledger(GROUP).unwrap().append("one")).await.unwrap();
    node.create_ledger(group("later")).await.unwrap();
    node.remove_ledger("later", LedgerFiles::Delete).await.unwrap();
    assert!(!closed.is_finished(), "one ledger serves");
    node.shutdown().await;
    let mut closed = patient(closed).await.unwrap();
    closed.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    assert_eq!(closed.len(), 2);
    assert!(closed[1].1.contains("is damaged"), "{closed:?}");
}
