//! What `dledger serve` writes into its log: what an operator can use, once.

use std::path::Path;
use std::process::Stdio;

use dledger::NodeId;
use dledger::testkit::Cluster as Place;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::common::{kit, patient};

const LEDGERS: usize = 5;

/// A `dledger serve` and what it has logged; killed when dropped.
struct Served {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Served {
    fn start(arguments: &[&str], dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
        command.arg("serve").args(arguments).arg("--data-dir").arg(dir).args(["--segment-size", "32MiB"]);
        command.env_remove("DLEDGER_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                told.send_modify(|lines| lines.push(line));
            }
        });
        Self { child, lines }
    }

    /// Waits until `count` lines are as wanted.
    async fn logged(&self, count: usize, wanted: impl Fn(&str) -> bool) {
        let enough = |lines: &Vec<String>| lines.iter().filter(|line| wanted(line)).count() >= count;
        let mut lines = self.lines.clone();
        let _seen = patient(lines.wait_for(enough)).await.unwrap();
    }

    fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// All that it logged, and whether it ended well.
    async fn ended(mut self) -> (bool, Vec<String>) {
        let status = patient(self.child.wait()).await.unwrap();
        // Until who reads them has read them all.
        let _ = patient(self.lines.wait_for(|_| false)).await;
        let lines = self.lines.borrow().clone();
        (status.success(), lines)
    }
}

fn has(line: &str, words: &[&str]) -> bool {
    words.iter().all(|word| line.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_logs_no_warning_from_its_start_to_its_clean_end() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(1).down().unwrap());
    let bind = place.address(0).unwrap();
    let node = Served::start(&["--group", "g", "--id", "n0", "--bind", bind, "--single"], dir.path());
    node.logged(1, |line| has(line, &["INFO", "master"])).await;
    node.terminate();
    let (well, lines) = node.ended().await;
    assert!(well, "{lines:#?}");
    assert!(lines.iter().any(|line| has(line, &["shutting down"])), "{lines:#?}");
    for line in &lines {
        assert!(line.contains(" INFO ") && !line.contains('\u{1b}'), "a warning, or colours in a pipe: {line}");
    }
}

/// Node `n` of three, with all ledgers.
fn start(place: &Place, dir: &Path, n: u64) -> Served {
    let (list, id) = (place.peers().to_string(), NodeId::new(n).to_string());
    let groups: Vec<_> = (0..LEDGERS).map(|n| format!("g{n}")).collect();
    let mut arguments = vec!["--peers", &list, "--id", &id];
    groups.iter().for_each(|group| arguments.extend(["--group", group]));
    Served::start(&arguments, &dir.join(&id))
}

/// All three, when every ledger has a master.
async fn three(place: &Place, dir: &Path) -> Vec<Served> {
    let nodes: Vec<_> = (0..3).map(|n| start(place, dir, n)).collect();
    for node in &nodes {
        node.logged(LEDGERS, |line| has(line, &["INFO", "term="]) && !line.contains("electing")).await;
    }
    nodes
}

/// Waits for the end of a node that was stopped: it is clean, and nothing in it needs anybody.
async fn ends_quietly(node: Served) {
    let (well, lines) = node.ended().await;
    assert!(well, "{lines:#?}");
    let end = lines.iter().position(|line| line.contains("shutting down")).unwrap();
    let bad = lines[end..].iter().filter(|line| !line.contains(" INFO ")).collect::<Vec<_>>();
    assert!(bad.is_empty(), "{bad:#?} of {lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_stopped_all_at_once_log_no_warning_for_it() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(3).down().unwrap());
    let nodes = three(&place, dir.path()).await;
    nodes.iter().for_each(Served::terminate);
    for node in nodes {
        ends_quietly(node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_while_the_others_die_logs_no_warning_for_it() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(3).down().unwrap());
    let mut nodes = three(&place, dir.path()).await;
    // It leads one ledger, and follows in another.
    for (group, to) in [("g0", "n1"), ("g1", "n0")] {
        let mut transfer = Command::new(env!("CARGO_BIN_EXE_dledger"));
        transfer.args(["transfer", "--peers", &place.peers().to_string(), "--group", group, "--to", to]);
        transfer.stdout(Stdio::null());
        assert!(patient(transfer.status()).await.unwrap().success());
    }
    let stopped = nodes.remove(0);
    stopped.logged(1, |line| has(line, &["INFO", "group=g0", "master=n1"])).await;
    stopped.logged(1, |line| has(line, &["INFO", "group=g1", " master "])).await;
    for node in &mut nodes {
        node.child.start_kill().unwrap();
    }
    // It does not know yet, and looks for a successor for some seconds.
    stopped.terminate();
    ends_quietly(stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_costs_its_peers_a_few_lines_whatever_it_hosted_and_its_return_one() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(3).down().unwrap());
    let mut nodes = three(&place, dir.path()).await;
    let mut dead = nodes.pop().unwrap();
    dead.child.kill().await.unwrap();
    // The leader reports it, whichever node that is.
    let told = nodes.iter().map(|node| Box::pin(node.logged(1, |line| has(line, &["WARN", "n2 does not answer ("]))));
    futures::future::select_all(told).await;
    let back = start(&place, dir.path(), 2);
    let well = nodes.iter().map(|node| Box::pin(node.logged(1, |line| has(line, &["INFO", "n2 answers again"]))));
    futures::future::select_all(well).await;
    for node in &nodes {
        let lines = node.lines.borrow().clone();
        let of_it = |what: &str| lines.iter().filter(|line| has(line, &["n2", what])).count();
        assert!(of_it("does not answer (") <= 4, "begins, and another reason each: {lines:#?}");
        assert!(of_it("answers again") <= 1, "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("openraft")), "{lines:#?}");
    }
    // One of them stops, with what it leads, while the others are well.
    nodes.push(back);
    let stopped = nodes.remove(0);
    stopped.terminate();
    ends_quietly(stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_acknowledge_otherwise_and_preferences_for_nobody_are_told() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(2).down().unwrap());
    let list = place.peers().to_string();
    let start = |id: &str, durability: &str| {
        let arguments = ["--group", "g", "--peers", &list, "--id", id, "--durability", durability];
        Served::start(&[&arguments[..], &["--preferred-leaders", "n9"]].concat(), &dir.path().join(id))
    };
    let nodes = [start("n0", "sync"), start("n1", "interval")];
    // One line comes from the node that forms the cluster, the other from its leader.
    for words in [
        ["WARN", "--durability is not the same on all nodes"],
        ["WARN", "--preferred-leaders names a node that is no member"],
    ] {
        let told = nodes.iter().map(|node| Box::pin(node.logged(1, move |line| has(line, &words))));
        futures::future::select_all(told).await;
    }
}
