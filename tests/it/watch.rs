//! `dledger status --watch` beside a cluster whose nodes come and go.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::common::{kit, patient};

/// A `dledger status --watch` that is read line by line; killed when dropped.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(peers: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
        command.args(["status", "--group", "g", "--peers", peers, "--watch=20ms"]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        patient(self.lines.next_line()).await.unwrap().unwrap()
    }

    /// One refresh: the nodes.
    async fn nodes(&mut self) -> Vec<Value> {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Refreshes until one is as wanted; all of them.
    async fn until(&mut self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Vec<Value>> {
        let mut seen = Vec::new();
        let found = async {
            loop {
                seen.push(self.nodes().await);
                if seen.last().is_some_and(|nodes| wanted(nodes)) {
                    return;
                }
            }
        };
        patient(found).await;
        seen
    }

    /// As Ctrl-C does. True if it ends well.
    async fn interrupt(mut self) -> bool {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        patient(self.child.wait()).await.unwrap().success()
    }
}

/// Whether all three nodes have `committed` records, and know their master.
fn have(committed: u64) -> impl Fn(&[Value]) -> bool {
    move |nodes| nodes.len() == 3 && nodes.iter().all(|n| n["committed"] == committed && n["master"].is_string())
}

fn down(nodes: &[Value]) -> usize {
    nodes.iter().filter(|node| node["error"].is_string()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_is_watched_while_records_and_nodes_come_and_go() {
    let mut cluster = kit(3).start().await.unwrap();
    // One that is named is enough to find the others.
    let mut watching = Watching::start(&format!("n1={}", cluster.address(1).unwrap()), &["--json"]);
    watching.until(have(0)).await;

    let master = cluster.wait_for_master().await.unwrap();
    cluster.ledger(master).unwrap().append_batch((0..100).map(|n| n.to_string())).await.unwrap();
    let seen = watching.until(have(100)).await;
    for node in 0..3 {
        let rate = |nodes: &Vec<Value>| nodes[node]["committed_per_second"].as_f64().unwrap_or_default();
        assert!(seen.iter().any(|nodes| rate(nodes) > 0.0), "{seen:?}");
    }
    let last = seen.last().unwrap();
    assert_eq!(last.iter().filter(|node| node["role"] == "master").count(), 1, "{last:?}");
    for figure in ["term", "first", "durable", "end"] {
        assert!(last.iter().all(|node| node[figure].is_u64()), "{figure}: {last:?}");
    }

    // A node goes, and stays in the table; all of them go, and the command does not.
    let slave = cluster.wait_for_slave().await.unwrap();
    cluster.stop(slave).await.unwrap();
    watching.until(|nodes| nodes.len() == 3 && down(nodes) == 1).await;
    cluster.stop_all().await;
    watching.until(|nodes| nodes.len() == 3 && down(nodes) == 3).await;

    for n in 0..3 {
        cluster.restart(n).await.unwrap();
    }
    watching.until(have(100)).await;
    assert!(watching.interrupt().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_the_tables_follow_each_other() {
    let cluster = kit(3).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    // A wrong address beside the others.
    let peers = format!("{};n7=127.0.0.1:1", cluster.peers());
    let mut watching = Watching::start(&peers, &[]);
    for _ in 0..3 {
        let names: Vec<_> = watching.line().await.split_whitespace().map(String::from).collect();
        let expected = "NODE ADDRESS ROLE TERM MASTER FIRST COMMITTED COMMITTED/S DURABLE END";
        assert_eq!(names.join(" "), expected);
        for n in 0..3 {
            let row = watching.line().await;
            assert!(row.starts_with(&format!("n{n} ")) && row.contains(cluster.address(n).unwrap()), "{row}");
        }
        let row = watching.line().await;
        assert!(row.starts_with("n7 ") && row.contains("unreachable"), "{row}");
        assert_eq!(watching.line().await, "");
    }
    assert!(watching.interrupt().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_nobody_reads_it_any_more() {
    let mut watching = Watching::start("n0=127.0.0.1:1", &["--json"]);
    assert_eq!(watching.nodes().await.len(), 1);
    let Watching { mut child, lines } = watching;
    drop(lines);
    assert!(patient(child.wait()).await.unwrap().success());
}
