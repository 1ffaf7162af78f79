//! What `dledger` tells its operator: where a value came from, which nodes there are, what it waits for.

use std::process::{Output, Stdio};

use dledger::testkit::Cluster;
use dledger::{Config, Durability, NodeId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::common::{kit, patient};

fn dledger(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(words: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let Output { status, stdout, stderr } =
        patient(dledger(words).envs(variables.iter().copied()).output()).await.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap() + &String::from_utf8_lossy(&stderr))
}

/// Three nodes, and a place for one more where nobody is.
async fn three() -> Cluster {
    let cluster = kit(3).spares(1).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    cluster
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

/// What `serve` says that lacks nothing but its directory.
const ENOUGH: &str = "--data-dir is missing";
const SERVE: [&str; 7] = ["serve", "--group", "g", "--id", "n0", "--bind", "127.0.0.1:1"];

#[tokio::test]
async fn a_variable_that_is_empty_is_not_set_and_a_boolean_is_read_as_it_is_written() {
    for value in ["1", "yes", "on", "TRUE", "0", "no", "off", "false", ""] {
        for variable in ["DLEDGER_JOIN", "DLEDGER_SINGLE", "DLEDGER_STRICT", "DLEDGER_STAY", "DLEDGER_FAST_FAILOVER"] {
            let (code, said) = run(&SERVE, &[(variable, value)]).await;
            assert!(code == 2 && said.contains(ENOUGH), "{variable}={value}: {said}");
        }
    }
    for variable in [
        "DLEDGER_CONFIG",
        "DLEDGER_PEERS",
        "DLEDGER_DATA_DIR",
        "DLEDGER_ADVERTISE",
        "DLEDGER_CLUSTER",
        "DLEDGER_DURABILITY",
        "DLEDGER_REPAIR",
        "DLEDGER_SEGMENT_SIZE",
        "DLEDGER_MAX_RECORD",
        "DLEDGER_LOCK_WAIT",
        "DLEDGER_MAX_CONNECTIONS",
        "DLEDGER_RETENTION_AGE",
        "DLEDGER_RETENTION_CHECK",
        "DLEDGER_PREFERRED_LEADERS",
        "DLEDGER_HEARTBEAT",
        "DLEDGER_LOG",
        "DLEDGER_GROUP",
        "DLEDGER_ID",
        "DLEDGER_BIND",
    ] {
        let (code, said) = run(&SERVE, &[(variable, "")]).await;
        assert!(code == 2 && said.contains(ENOUGH), "{variable}: {said}");
    }
    // What is wanted and empty is missing.
    let (code, said) = run(&["get", "--peers", "n0=h:1", "1"], &[("DLEDGER_GROUP", "")]).await;
    assert!(code == 2 && said.contains("--group <GROUP> (or DLEDGER_GROUP, which is set, but empty)"), "{said}");
    let (code, said) = run(&["status", "--group", "g"], &[("DLEDGER_PEERS", ""), ("DLEDGER_TIMEOUT", "")]).await;
    assert!(code == 2 && said.contains("DLEDGER_PEERS, which is set, but empty"), "{said}");
}

#[tokio::test]
async fn a_message_names_where_the_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    let file = path.to_str().unwrap();
    for (words, variable, value, expected) in [
        (&SERVE[..], "DLEDGER_JOIN", "maybe", "'maybe' for 'DLEDGER_JOIN (the variable for --join"),
        (&["status", "--group", "g", "--peers", "n0=h:1"], "DLEDGER_TIMEOUT", "soon", "for 'DLEDGER_TIMEOUT (the"),
        (&["get", "--group", "g", "1"], "DLEDGER_PEERS", "n0", "for 'DLEDGER_PEERS (the"),
        (
            &["serve", "--group", "g", "--id", "n0"],
            "DLEDGER_PEERS",
            "n1=h:1",
            "peers is from the variable DLEDGER_PEERS",
        ),
        (
            &["serve", "--group", "g", "--peers", "n1=h:1"],
            "DLEDGER_ID",
            "n0",
            "peers is from --peers, id is from the var",
        ),
        (
            &[&SERVE[..6], &["127.0.0.1:0", "--advertise", "h:1", "--data-dir", file]].concat(),
            "DLEDGER_PEERS",
            "n1=h:1",
            "peers is from the variable DLEDGER_PEERS",
        ),
        (
            &[&SERVE[..], &["--data-dir", file, "--single"]].concat(),
            "DLEDGER_SEGMENT_SIZE",
            "1000",
            "DLEDGER_SEGMENT_SIZE)",
        ),
        (&SERVE, "DLEDGER_CONFIG", "/no/such.toml", "config is from the variable DLEDGER_CONFIG"),
    ] {
        let (code, said) = run(words, &[(variable, value)]).await;
        assert!(code == 2 && said.contains(expected), "{words:?} {variable}={value}: {said}");
    }
    // An option that is given is the one that is meant, whatever the variable holds.
    let (_, said) = run(&[&SERVE[..], &["--join=maybe"]].concat(), &[("DLEDGER_JOIN", "1")]).await;
    assert!(said.contains("for '--join") && !said.contains("DLEDGER_JOIN"), "{said}");
    for (text, expected) in [
        ("# it\nid = \"n0\"\nsegment-size = \"big\"\n", "node.toml, line 3: segment-size: \"big\" is no size"),
        ("\nretention-age = \"long\"", "node.toml, line 2: retention-age: \"long\" is no time"),
        ("join = true\nlead = 1", "node.toml, line 2: lead: unknown field"),
        ("join = true\nheartbeat = \"1ms\"\ndata-dir = \"x\"", "heartbeat is from"),
        ("join = ", "node.toml: TOML parse error at line 1"),
    ] {
        std::fs::write(&path, text).unwrap();
        let (code, said) = run(&[&SERVE[..], &["--config", file]].concat(), &[]).await;
        assert!(code == 2 && said.contains(expected), "{text}: {said}");
    }
}

/// One node alone that serves `g` and `h`, when it says so.
async fn alone(dir: &std::path::Path, address: &str) -> Child {
    let words = ["serve", "--single", "--group", "g,h", "--id", "n0", "--bind", address, "--segment-size", "1MiB"];
    let mut child = dledger(&words).arg("--data-dir").arg(dir).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = patient(lines.next_line()).await.unwrap().unwrap();
    assert!(line.contains("serves g, h"), "{line}");
    child
}

#[tokio::test]
async fn where_the_environment_names_several_ledgers_one_is_asked_for_and_status_shows_all() {
    let dir = tempfile::tempdir().unwrap();
    // It has a port that is nobody's.
    let place = kit(1).down().unwrap();
    let address = place.address(0).unwrap();
    // A volume has it, from the day it is made.
    for ledger in ["g", "h"] {
        std::fs::create_dir_all(dir.path().join(ledger).join("lost+found")).unwrap();
    }
    let _serving = alone(dir.path(), address).await;
    let pod = format!("n0={address}");
    let pod = [("DLEDGER_GROUP", "g,h"), ("DLEDGER_PEERS", pod.as_str())];
    for words in
        [&["append", "x"][..], &["get", "0"], &["read"], &["tail"], &["members", "list"], &["retention", "show"]]
    {
        let (code, said) = run(words, &pod).await;
        assert!(
            code == 2 && said.contains("2 ledgers are named (g, h)") && said.contains("--group g"),
            "{words:?}: {said}"
        );
    }
    assert_eq!(run(&["append", "--group", "h", "x"], &pod).await.0, 0);
    let (code, said) = run(&["status"], &pod).await;
    let titles: Vec<_> = said.lines().filter(|line| line.starts_with("LEDGER ")).collect();
    assert!(code == 0 && titles == ["LEDGER g", "LEDGER h"], "{said}");
    let (code, said) = run(&["status", "--json"], &pod).await;
    let all: Value = serde_json::from_str(&said).unwrap();
    let of = |n: usize| (all[n]["group"].as_str().unwrap(), all[n]["committed"].as_u64().unwrap());
    assert_eq!((code, of(0), of(1)), (0, ("g", 0), ("h", 1)));
    // One of them is not there: that is what is said, and not that nobody answers.
    for words in [&["status"][..], &["retention", "show"], &["append", "x"]] {
        let (code, said) = run(words, &[("DLEDGER_GROUP", "typo"), pod[1]]).await;
        assert!(code == 2 && said.contains("typo") && !said.contains("no peer answered"), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn a_master_that_nobody_finds_where_the_members_have_it_is_told_of() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = kit(2).down().unwrap();
    let [one, joins] = [0, 1].map(|n| place.address(n).unwrap());
    let serve = async |id: &str, more: &[&str], dir: &std::path::Path| {
        let words = [&["serve", "--group", "g", "--segment-size", "1MiB", "--id", id][..], more].concat();
        let mut child = dledger(&words).arg("--data-dir").arg(dir).stderr(Stdio::null()).spawn().unwrap();
        patient(BufReader::new(child.stdout.take().unwrap()).lines().next_line()).await.unwrap().unwrap();
        child
    };
    let _one = serve("n0", &["--single", "--bind", one, "--advertise", "127.0.0.1:1"], dir.path()).await;
    let _joins = serve("n1", &["--join", "--bind", joins], other.path()).await;
    let peers = format!("n0={one}");
    for change in [&["add", joins][..], &["move", "n0", "127.0.0.1:1"]] {
        let (code, said) =
            run(&[&["members", change[0], "--group", "g", "--peers", &peers], &change[1..]].concat(), &[]).await;
        assert!(code == 0 && said.contains("note: n0 does not answer at 127.0.0.1:1"), "{change:?} {code}: {said}");
    }
}

#[tokio::test]
async fn a_directory_in_use_is_waited_for_and_told_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = kit(2).down().unwrap();
    let _holds = alone(dir.path(), place.address(0).unwrap()).await;
    let words = ["serve", "--stay", "--group", "g", "--id", "n0", "--segment-size", "1MiB", "--lock-wait", "1s"];
    let mut second = dledger(&words);
    let second = second.args(["--bind", place.address(1).unwrap(), "--data-dir"]).arg(dir.path());
    let mut second = second.env("DLEDGER_LOG", "info").spawn().unwrap();
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    assert!(patient(lines.next_line()).await.unwrap().unwrap().contains("serves no ledger"));
    signal(&second, "-TERM").await;
    let said = patient(second.wait_with_output()).await.unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.matches("waiting up to 1 s for it").count(), 1, "{said}");
    assert_eq!(said.matches("waiting up to").count(), 1, "{said}");
}

#[tokio::test]
async fn a_node_and_a_copy_of_it_that_went_on_by_itself_are_told_to_have_two_histories() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = kit(2).down().unwrap();
    let [one, other] = [0, 1].map(|n| place.address(n).unwrap());
    let append = async |dir: &std::path::Path, body: &str| {
        let mut serving = alone(dir, one).await;
        let (code, said) = run(&["append", "--group", "g", "--peers", &format!("n0={one}"), body], &[]).await;
        assert_eq!(code, 0, "{said}");
        serving.kill().await.unwrap();
    };
    append(dir.path(), "first").await;
    let from = dir.path().join(".");
    assert!(Command::new("cp").arg("-a").args([&from, copy.path()]).status().await.unwrap().success());
    append(dir.path(), "here").await;
    append(copy.path(), "else").await;
    let (_original, _copy) = (alone(dir.path(), one).await, alone(copy.path(), other).await);
    let list = format!("n0={one};n9={other}");
    let (code, said) = loop {
        let (code, said) = run(&["status", "--group", "g", "--peers", &list], &[]).await;
        if !said.contains("electing") {
            break (code, said);
        }
    };
    let error = said.lines().find(|line| line.starts_with("error: g: the histories differ")).unwrap_or_default();
    let each = [one, other].iter().all(|address| error.contains(&format!("n0 at {address}")));
    assert!(code == 3 && each && error.contains("dledger log diff"), "{code}: {said}");
    let (code, said) = run(&["status", "--json", "--group", "g", "--peers", &list], &[]).await;
    let shown: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let others = |n: usize| (shown[n]["group"].as_str().unwrap(), shown[n]["other_history"][0].as_str());
    assert_eq!((code, others(0), others(1)), (3, ("g", Some(other)), ("g", Some(one))), "{said}");
    // What needs somebody is shown by the node itself too, and it serves.
    let (code, said) = loop {
        // Its other ledger may be electing still.
        let (code, said) = run(&["health", "--id", "n0", "--group", "g", "--bind", other], &[]).await;
        if !said.contains("electing") {
            break (code, said);
        }
    };
    assert!(code == 0 && said.contains("dledger members move"), "{code}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_membership_says_who_there_is_and_the_list_is_where_one_starts() {
    let mut cluster = three().await;
    let master = cluster.wait_for_master().await.unwrap();
    cluster.ledger(master).unwrap().append("record").await.unwrap();
    cluster.wait_committed(1).await.unwrap();
    let other = (master + 1) % 3;
    // The list lacks the master, has a stranger, and has a member where it is not.
    let (nowhere, third) = (cluster.address(3).unwrap(), 3 - master - other);
    let list = format!("n{other}={};n7={nowhere};n{third}=127.0.0.1:1", cluster.address(other).unwrap());
    let words = |words: &[&str]| {
        let all = [&words[..1], &["--group", "g", "--peers", &list], &words[1..]].concat();
        all.into_iter().map(String::from).collect::<Vec<_>>()
    };
    let ask = async |said: &[&str]| {
        let words = words(said);
        run(&words.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await
    };
    let (code, said) = ask(&["status", "--json"]).await;
    let shown: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let shown = shown.as_array().unwrap();
    let find = |id: String| shown.iter().find(|node| node["node"] == id).unwrap_or_else(|| panic!("{id}: {said}"));
    assert_eq!((code, shown.len()), (0, 4), "{said}");
    for n in 0..3 {
        let node = find(format!("n{n}"));
        assert_eq!((&node["member"], &node["address"]), (&true.into(), &cluster.address(n).unwrap().into()), "{said}");
        assert!(node["role"] == if n == master { "master" } else { "slave" }, "{said}");
    }
    assert!(find("n7".into())["member"] == false && find("n7".into())["error"].is_string());
    let (_, table) = ask(&["status"]).await;
    let stranger = table.lines().find(|line| line.starts_with("n7 ")).unwrap();
    assert!(stranger.ends_with("no member of the ledger"), "{table}");

    for node in 0..3 {
        let (code, said) = ask(&["read", "--node", &format!("n{node}"), "--lines"]).await;
        assert_eq!((code, said.as_str()), (0, "record\n"), "n{node}");
        assert_eq!(ask(&["get", "--node", &format!("n{node}"), "0"]).await, (0, "record\n".into()));
    }
    let (code, said) = ask(&["read", "--node", "n8"]).await;
    assert!(
        code == 2 && said.contains("no peer is called n8") && said.contains("the members are n0, n1, n2"),
        "{said}"
    );
    // Another answers where the list has it: it is not taken for the one that was meant.
    let mistaken = format!("n9={}", cluster.address(other).unwrap());
    let (code, said) = run(&["get", "--group", "g", "--peers", &mistaken, "--node", "n9", "0"], &[]).await;
    let expected = format!("n{other} is at {}, where the peers have n9", cluster.address(other).unwrap());
    assert!(code == 2 && said.contains(&expected), "{said}");
    let show = dledger(&["retention", "show", "--group", "g", "--peers", &list]).output().await.unwrap();
    let show = String::from_utf8(show.stdout).unwrap();
    assert_eq!(show.lines().filter(|line| line.contains("calm") || line.contains("none")).count(), 3, "{show}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_nodes_of_two_clusters_is_said_to_be_that_by_whoever_is_asked_for_all_of_it() {
    let (one, other) = (kit(2).start().await.unwrap(), kit(1).start().await.unwrap());
    for cluster in [&one, &other] {
        cluster.wait_for_master().await.unwrap();
    }
    // The other one calls itself n0, too.
    let strays = [&one, &other].map(|cluster| cluster.address(0).unwrap().to_owned());
    let list = format!("n0={};n9={}", strays[0], strays[1]);
    let retention = ["retention", "move", "--to", "0"];
    for words in [&["status"][..], &["status", "--json"], &["members", "list"], &["retention", "show"], &retention] {
        let (code, said) = run(&[words, &["--group", "g", "--peers", &list]].concat(), &[]).await;
        assert_eq!(code, 2, "{words:?}: {said}");
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap();
        let each = strays.iter().all(|stray| error.contains(&format!("n0 at {stray} of cluster")));
        assert!(error.contains("are not of one cluster") && each, "{words:?}: {said}");
    }
    // `status` also asks nodes that only a membership names, and calls no member of one cluster a stranger.
    let (code, said) = run(&["status", "--json", "--group", "g", "--peers", &format!("n0={}", strays[0])], &[]).await;
    let shown: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(code == 0 && shown.as_array().unwrap().len() == 2, "{said}");
    let (_, said) = run(&["status", "--group", "g", "--peers", &list], &[]).await;
    assert!(!said.contains("no member"), "{said}");
    let (code, said) = run(&["append", "--group", "g", "--peers", &list, "x"], &[]).await;
    assert!(code == 2 && said.contains("are not of one cluster"), "{code}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_acknowledge_otherwise_are_named() {
    let syncs = |config: &mut Config| {
        if config.id != NodeId::new(2) {
            config.durability = Durability::Sync;
        }
    };
    let mut cluster = kit(3).configure(syncs).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    let (code, said) = run(&["status", "--group", "g", "--peers", &cluster.peers().to_string()], &[]).await;
    assert!(said.contains("not the same on all nodes (interval:20ms on n2; sync on n0, n1)"), "{code}: {said}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_two_sizes_are_told_by_that_name() {
    let other = |config: &mut Config| {
        if config.id == NodeId::new(1) {
            config.set_segment_size(2 << 20);
        }
    };
    let mut cluster = kit(2).configure(other).start().await.unwrap();
    let expected = "found segments of 1048576 bytes, expected segments of 2097152 bytes (the segment size is to be";
    let told = patient(async {
        loop {
            let (_, said) = run(&["status", "--group", "g", "--peers", &cluster.peers().to_string()], &[]).await;
            if said.contains("it refuses") {
                break said;
            }
        }
    });
    let told = told.await;
    assert!(told.contains(expected), "{told}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_ends_with_its_reader_and_says_what_it_waits_for() {
    let mut cluster = three().await;
    let master = cluster.wait_for_master().await.unwrap();
    cluster.ledger(master).unwrap().append("record").await.unwrap();
    let peers = cluster.peers().to_string();
    let mut tail = dledger(&["tail", "--group", "g", "--peers", &peers, "--lines"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(patient(lines.next_line()).await.unwrap().unwrap(), "record");
    // No further record comes, and it ends.
    drop(lines);
    assert!(patient(tail.wait()).await.unwrap().success());
    let watch = ["status", "--group", "g", "--peers", &peers, "--watch=1h"];
    let mut watch = dledger(&watch).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    patient(lines.next_line()).await.unwrap().unwrap();
    drop(lines);
    assert!(patient(watch.wait()).await.unwrap().success());

    let mut tail = dledger(&["tail", "--group", "g", "--peers", &peers, "--from", "1000"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stderr.take().unwrap()).lines();
    let said = patient(lines.next_line()).await.unwrap().unwrap();
    assert!(said.starts_with("note: waits for index 1000: n") && said.contains("999 records before it"), "{said}");
    signal(&tail, "-KILL").await;
    patient(tail.wait()).await.unwrap();
    cluster.stop_all().await;
}

/// A start that hangs: it opens the identity, a FIFO, and waits for a writer.
#[tokio::test]
async fn a_second_signal_ends_a_process_that_hangs() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("g")).unwrap();
        let identity = dir.path().join("g").join("identity");
        assert!(Command::new("mkfifo").arg(&identity).status().await.unwrap().success());
        let place = kit(1).down().unwrap();
        let bind = place.address(0).unwrap();
        let words = ["serve", "--single", "--group", "g", "--id", "n0", "--bind", bind, "--lock-wait", "0"];
        let mut serve = dledger(&words).env("DLEDGER_LOG", "info").arg("--data-dir").arg(dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
        let mut until = async |words: &str| {
            while let Some(line) = patient(lines.next_line()).await.unwrap() {
                if line.contains(words) {
                    return true;
                }
            }
            false
        };
        // It listens to signals before it says so.
        assert!(until("limit of open files").await);
        signal(&serve, name).await;
        assert!(until("a second signal ends the process at once").await);
        // One that comes in the same moment is the same request: what ends it comes a second later.
        let status = patient(async {
            loop {
                if let Some(status) = serve.try_wait().unwrap() {
                    break status;
                }
                signal(&serve, name).await;
            }
        });
        let status = status.await;
        assert!(status.code() == Some(code) || status.success(), "{status}");
    }
}
