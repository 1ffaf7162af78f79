//! The `dledger` command against real processes, as the README shows it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use dledger::testkit::Cluster;

use crate::common::{PATIENCE, kit};

const BIN: &str = env!("CARGO_BIN_EXE_dledger");

/// `dledger serve` processes; killed when dropped.
struct Serving {
    /// Their directories and their ports, and a port for one more.
    place: Cluster,
    /// The first three, in DLedger's spelling.
    peers: String,
    children: Vec<Child>,
}

fn dledger(args: &[&str]) -> Command {
    let mut command = Command::new(BIN);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Serving {
    fn three() -> Self {
        let place = kit(3).spares(1).down().unwrap();
        let peers = (0..3).map(|n| format!("n{n}-{}", place.address(n).unwrap())).collect::<Vec<_>>().join(";");
        let mut serving = Self { place, peers, children: Vec::new() };
        for n in 0..3 {
            let child = serving.serve(n);
            serving.children.push(child);
        }
        serving
    }

    /// Returns when the node says that it serves.
    fn serve(&self, n: usize) -> Child {
        let (id, dir) = (format!("n{n}"), self.place.dir(n));
        let args = ["serve", "--group", "g", "--id", &id, "--peers", &self.peers, "--segment-size", "32MiB"];
        let mut command = dledger(&args);
        command.arg("--data-dir").arg(dir).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&id), "{line}");
        child
    }

    fn run(&self, args: &[&str]) -> Output {
        dledger(&[&args[..1], &["--group", "g", "--peers", &self.peers], &args[1..]].concat()).output().unwrap()
    }

    /// The number of the node that says it is the master.
    fn master(&self) -> usize {
        // Whatever its exit code: one that has not heard of the master yet is none of the others' business.
        let status: serde_json::Value = serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap();
        let nodes = status.as_array().unwrap();
        nodes.iter().position(|node| node["role"] == "master").unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn feed(mut stdin: ChildStdin, lines: String) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap())
}

#[test]
fn lines_appended_to_three_processes_are_read_in_order_from_each() {
    let mut serving = Serving::three();
    let lines: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let mut append = dledger(&["append", "--group", "g", "--peers", &serving.peers, "--lines", "-"]);
    let mut append = append.stdin(Stdio::piped()).spawn().unwrap();
    let feeder = feed(append.stdin.take().unwrap(), lines.clone());
    let output = append.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    for node in ["n0", "n1", "n2"] {
        // A slave hears of the last commit with the next heartbeat.
        let mut tail = dledger(&["tail", "--group", "g", "--peers", &serving.peers, "--node", node, "--from", "19999"]);
        let mut tail = tail.spawn().unwrap();
        let mut first = [0];
        tail.stdout.take().unwrap().read_exact(&mut first).unwrap();
        tail.kill().unwrap();
        tail.wait().unwrap();
        assert!(serving.ok(&["read", "--node", node, "--from", "0", "--lines"]) == lines, "{node} differs");
    }

    assert_eq!(serving.ok(&["get", "41"]), "42\n");
    for consistency in ["local", "lease", "linearizable"] {
        assert_eq!(serving.ok(&["get", "--node", "n1", "--consistency", consistency, "19999"]), "20000\n");
        let read = ["read", "--from", "19998", "--consistency", consistency, "--lines"];
        assert_eq!(serving.ok(&read), "19999\n20000\n");
    }
    let record: serde_json::Value = serde_json::from_str(&serving.ok(&["get", "41", "--json"])).unwrap();
    let position = record["position"].as_u64().unwrap();
    assert_eq!(serving.ok(&["get", "--position", &position.to_string(), "--consistency", "lease"]), "42\n");
    let inside = serving.run(&["get", "--position", &(position + 1).to_string()]);
    let said = String::from_utf8_lossy(&inside.stderr);
    assert!(!inside.status.success() && said.contains(&format!("begin at {position} and ")), "{said}");
    assert!(serving.ok(&["read", "--since", "1h", "--lines"]) == lines);
    assert_eq!(serving.ok(&["read", "--since", "2200-01-01T00:00:00Z", "--consistency", "lease", "--lines"]), "");

    // Kill the master: the others go on.
    let master = serving.master();
    serving.children[master].kill().unwrap();
    serving.children[master].wait().unwrap();
    let ack: serde_json::Value = serde_json::from_str(&serving.ok(&["append", "--json", "after the kill"])).unwrap();
    assert_eq!(ack["index"], 20_000);
    serving.children[master] = serving.serve(master);
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let place = kit(1).down().unwrap();
    let one = format!("n0={}", place.address(0).unwrap());
    let cases: [(&[&str], &str); 13] = [
        (&["serve", "--group", "g", "--id", "n9", "--peers", "n0-127.0.0.1:1;n1-127.0.0.1:2"], "n9"),
        (&["serve", "--group", "g", "--id", "n0", "--peers", "n0-127.0.0.1:1;n0-127.0.0.1:2"], "n0"),
        (&["serve", "--group", "g", "--id", "n0", "--peers", "n0;n1"], "id-host:port"),
        (&["append", "--group", "g", "--peers", "", "x"], "peer"),
        (
            &["serve", "--group", "g", "--id", "n0", "--bind", "0.0.0.0:1", "--join"],
            "give the host:port that others reach this node at, because it listens on 0.0.0.0:1,",
        ),
        (
            &["serve", "--group", "g", "--id", "n0", "--bind", "h:1", "--join", "--advertise", "h:0"],
            "--advertise = \"h:0\": expected host:port (port 0 is no port to connect to: use 1 to 65535)\n",
        ),
        (&["serve", "--group", "g", "--id", "n0"], "a member already needs --bind alone"),
        (&["serve", "--group", "g", "--id", "n0", "--peers", &one], "of this node alone is not enough"),
        (&["status", "--group", "g", "--peers", "n0=h:1", "--timeout", "0"], "no answer comes in no time"),
        (&["status", "--group", "g", "--peers", "n0=h:1", "--timeout", "banana"], "like 500ms, 10s or 72h"),
        (&["members", "add", "--group", "g", "--peers", "n0=h:1", "nonsense"], "write host:port (no port"),
        (
            &["recover", "--from", "/no/such/g", "--new-cluster"],
            "No such file or directory (os error 2). Check the path",
        ),
        (&["log", "verify", "/no/such/g"], "cannot list /no/such/g: No such file or directory (os error 2). Check"),
    ];
    for (args, expected) in cases {
        let mut command = dledger(args);
        if args[0] == "serve" {
            command.arg("--data-dir").arg(dir.path());
        }
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code(&output) == 2 && message.contains(expected), "{args:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn members_come_and_lead_and_go_by_command() {
    let mut serving = Serving::three();
    let (three, address) = (serving.peers.clone(), serving.place.address(3).unwrap().to_owned());
    serving.ok(&["append", "hello"]);
    let members = |command: &[&str]| {
        let args = [&["members"], &command[..1], &["--group", "g", "--peers", &three], &command[1..]].concat();
        let output = dledger(&args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let voters = || {
        let listed: serde_json::Value = serde_json::from_str(&members(&["list", "--json"]).1).unwrap();
        let voters = listed.as_array().unwrap().iter().filter(|member| member["voter"] == true);
        voters.map(|member| member["node"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(voters(), ["n0", "n1", "n2"]);
    let (done, said) = members(&["add", &address]);
    assert!(!done && said.contains(&format!("the node at {address} cannot be taken")), "{said}");
    serving.peers = format!("{three};n3-{address}");
    let child = serving.serve(3);
    serving.children.push(child);
    assert_eq!(
        members(&["add", &address, "--promote"]),
        (true, format!("n3 at {address} is a learner\nn3 is a voter\n"))
    );
    // What is so already is said to be so.
    assert_eq!(members(&["add", &address]), (true, format!("n3 at {address} is a voter already\n")));
    assert_eq!(
        members(&["replace", "n3", &address]),
        (true, format!("n3 at {address} is a member with this disk: nothing was replaced\n"))
    );
    assert_eq!(members(&["promote", "n3", "--json"]), (true, "{\"is\":\"voter\",\"node\":\"n3\"}\n".into()));
    assert_eq!(voters(), ["n0", "n1", "n2", "n3"]);
    assert_eq!(serving.ok(&["transfer", "--to", "n3"]), "n3 is the master\n");
    // The master goes: it hands over, and the next one takes it out.
    assert_eq!(members(&["remove", "n3"]), (true, "n3 is no member any more\n".into()));
    assert_eq!(voters(), ["n0", "n1", "n2"]);
    let nobody = "n9 is not a member: nothing to remove (the members are n0, n1, n2)\n";
    assert_eq!(members(&["remove", "n9"]), (true, nobody.into()));
    // A client that knows only the removed node hears of that node, and of no other.
    let gone = format!("n3-{address}");
    let of_gone = |words: &[&str]| {
        let output = dledger(&[words, &["--group", "g", "--peers", &gone]].concat()).output().unwrap();
        (code(&output), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    // It hears of it from the others.
    let (status, said) = loop {
        let (code, said) = of_gone(&["status"]);
        if said.contains("removed") {
            break (code, said);
        }
    };
    assert!(status == 4 && said.contains("removed from the cluster: n3") && !said.contains("quorum"), "{said}");
    // `members list` asks the nodes that the removed one names.
    let (list, said) = of_gone(&["members", "list"]);
    assert!(list == 0 && said.contains("\nn0 ") && !said.contains("\nn3 "), "{list}: {said}");
    let (tail, said) = of_gone(&["tail", "--node", "n3", "--from", "0", "--lines"]);
    assert!(tail == 4 && said.starts_with("hello\n") && said.contains("removed"), "{tail}: {said}");
    let (done, said) = members(&["promote", "n3"]);
    assert!(!done && said.contains("n3 is not a member: the members are n0, n1, n2"), "{said}");
    serving.ok(&["append", "after"]);
}

#[test]
fn a_master_that_is_silent_is_succeeded_and_follows_when_it_speaks_again() {
    let serving = Serving::three();
    serving.ok(&["append", "before"]);
    let old = serving.master();
    let process = rustix::process::Pid::from_child(&serving.children[old]);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    let began = std::time::Instant::now();
    let acked = serving.run(&["append", "after"]);
    println!("from the silence of the master to the next ack: {:?}", began.elapsed());
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    assert!(acked.status.success(), "{}", String::from_utf8_lossy(&acked.stderr));
    // Waits until it is there.
    let tail = ["tail", "--node", &format!("n{old}"), "--from", "0", "--lines"];
    let mut tail =
        dledger(&[&tail[..1], &["--group", "g", "--peers", &serving.peers], &tail[1..]].concat()).spawn().unwrap();
    let lines: Vec<_> = BufReader::new(tail.stdout.take().unwrap()).lines().take(2).collect::<Result<_, _>>().unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(lines, ["before", "after"]);
    assert_ne!(serving.master(), old);
}

#[test]
fn a_lost_quorum_is_told_by_every_look_at_the_members_and_a_survivor_is_recovered() {
    let mut serving = Serving::three();
    for n in 0..3 {
        assert!(serving.ok(&["append", "--json", &format!("record {n}")]).contains(&format!("\"index\":{n}")));
    }
    for n in [1, 2] {
        serving.children[n].kill().unwrap();
        serving.children[n].wait().unwrap();
    }
    let ask = |words: &[&str], more: &[&str]| {
        dledger(&[words, &["--group", "g", "--peers", &serving.peers], more].concat()).output().unwrap()
    };
    // It may take itself for the master for a moment more.
    let began = std::time::Instant::now();
    let lost = loop {
        let list = ask(&["members", "list"], &[]);
        if !list.status.success() {
            break list;
        }
        assert!(began.elapsed() < PATIENCE, "it lists them as if all were well");
    };
    let (told, said) = (String::from_utf8_lossy(&lost.stdout), String::from_utf8_lossy(&lost.stderr));
    assert_eq!(lost.status.code(), Some(4), "{told}{said}");
    let first = told.lines().next().unwrap();
    assert!(first.starts_with("NO MASTER: n0 is ") && first.contains("n1 at ") && first.contains("n2 at "), "{told}");
    let addresses: Vec<_> = serving.peers.split(';').filter_map(|peer| peer.split_once('-')).collect();
    let changes = [
        &["members", "promote", "n1", "--wait", "10m"][..],
        &["members", "replace", "n1", "127.0.0.1:1", "--wait", "10m"],
        &["members", "add", "127.0.0.1:1"],
        &["members", "move", "n1", "127.0.0.1:1"],
        &["members", "remove", "n1"],
        &["transfer", "--to", "n1"],
    ];
    for change in changes {
        let refused = ask(change, &["--timeout", "1s"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(4), "{change:?}: {said}");
        assert!(addresses.iter().all(|(_, address)| said.contains(address)), "{change:?}: {said}");
    }

    let dir = serving.place.dir(0).join("g");
    let recover = |more: &[&str]| {
        let dir = dir.to_str().unwrap();
        dledger(&[&["recover", "--from", dir, "--new-cluster"], more].concat()).output().unwrap()
    };
    let running = recover(&["--yes"]);
    assert!(!running.status.success() && String::from_utf8_lossy(&running.stderr).contains("in use"));
    serving.children[0].kill().unwrap();
    serving.children[0].wait().unwrap();
    let planned = recover(&[]);
    assert_eq!(planned.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&planned.stdout).contains("GIVEN UP FOR EVER: n1 at "));
    let made = recover(&["--yes"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let address = serving.place.address(0).unwrap();
    let next = format!("next: start n0 with its usual options, or with `--bind {address}` in place of --peers");
    assert!(String::from_utf8_lossy(&made.stdout).contains(&next), "{}", String::from_utf8_lossy(&made.stdout));
    for more in [&[][..], &["--yes"]] {
        let again = recover(more);
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(code(&again) == 1 && said.contains("is a cluster of n0 alone already"), "{said}");
    }
    // What is advised does.
    let args = ["serve", "--group", "g", "--id", "n0", "--bind", address, "--segment-size", "32MiB"];
    let mut child = dledger(&args).arg("--data-dir").arg(serving.place.dir(0)).stderr(Stdio::null()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    serving.children[0] = child;
    assert!(serving.ok(&["append", "--json", "after"]).contains("\"index\":3"));
    assert_eq!(serving.ok(&["read", "--from", "0", "--lines"]), "record 0\nrecord 1\nrecord 2\nafter\n");
    let list = dledger(&["members", "list", "--group", "g", "--peers", &serving.peers]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 2, "the head, and n0");
}

/// What it exited with.
fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// One node alone with the ledgers `g` and `h`, each with a record, that is stopped; then a byte of `h` is damaged.
fn damaged_one_of_two(dir: &std::path::Path, peers: &str) {
    let mut child = alone(dir, peers, &[]);
    for group in ["g", "h"] {
        let output = dledger(&["append", "--group", group, "--peers", peers, "record"]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    damage(&dir.join("h"));
}

/// Turns bits of the identity: what no other node has.
fn damage(ledger: &std::path::Path) {
    let identity = ledger.join("identity");
    let mut bytes = std::fs::read(&identity).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&identity, bytes).unwrap();
}

/// Returns when the node says that it serves.
fn alone(dir: &std::path::Path, peers: &str, more: &[&str]) -> Child {
    let args = ["serve", "--single", "--group", "g,h", "--id", "n0", "--peers", peers, "--segment-size", "32MiB"];
    let mut command = dledger(&[&args[..], more].concat());
    let mut child = command.arg("--data-dir").arg(dir).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("serves g"), "{line}");
    child
}

#[test]
fn one_damaged_ledger_is_closed_and_told_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    let place = kit(1).down().unwrap();
    let peers = format!("n0-{}", place.address(0).unwrap());
    damaged_one_of_two(dir.path(), &peers);
    let run = |args: &[&str]| {
        let output = dledger(args).env("DLEDGER_PEERS", &peers).env("DLEDGER_ID", "n0").output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (code(&output), said)
    };
    // Nobody is there.
    let (code, said) = run(&["health", "--group", "g,h"]);
    assert!(code == 1 && said.contains("error: cannot reach 127.0.0.1:") && !said.contains("broke"), "{code}: {said}");
    assert_eq!(run(&["status", "--group", "g", "--timeout", "1s"]).0, 1);

    let mut child = alone(dir.path(), &peers, &[]);
    assert_eq!(run(&["append", "--group", "g", "another"]).0, 0);
    assert_eq!(run(&["status", "--group", "g"]).0, 0);
    let (code, said) = run(&["status", "--group", "h"]);
    assert!(code == 3 && said.contains("closed") && said.contains("identity is damaged"), "{code}: {said}");
    let (code, said) = run(&["get", "--group", "h", "--node", "n0", "0"]);
    assert!(code == 3 && said.contains("identity is damaged"), "{code}: {said}");
    let (code, said) = run(&["health", "--group", "g,h"]);
    assert!(code == 3 && said.contains("identity is damaged") && said.contains("master"), "{code}: {said}");
    assert_eq!(run(&["health", "--group", "g,h", "--live"]).0, 0);
    // One that says where it is may lack itself in the list, but has to be there.
    let (code, said) = run(&["health", "--group", "g,h", "--id", "n7", "--bind", &peers["n0-".len()..]]);
    assert!(code == 1 && said.contains("node n0 answers at"), "{code}: {said}");
    assert_eq!(run(&["health", "--group", "g,h", "--bind", "127.0.0.1:0"]).0, 2);
    child.kill().unwrap();
    child.wait().unwrap();

    let data = dir.path().to_str().unwrap();
    let strict = ["serve", "--single", "--group", "g,h", "--data-dir", data, "--segment-size", "32MiB"];
    let (code, said) = run(&[&strict[..], &["--strict"]].concat());
    assert!(code == 3 && said.contains("identity is damaged"), "{code}: {said}");
    damage(&dir.path().join("g"));
    let (code, said) = run(&strict);
    assert!(code == 3 && said.contains("g: ") && said.contains("h: "), "{code}: {said}");

    // To be asked why.
    let mut stays = dledger(&[&strict[..], &["--stay"]].concat());
    let mut stays = stays.env("DLEDGER_PEERS", &peers).env("DLEDGER_ID", "n0").stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(stays.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("serves no ledger"), "{line}");
    for look in [
        &["status", "--group", "g"][..],
        &["get", "--group", "g", "--timeout", "1s", "0"],
        &["retention", "show", "--group", "g"],
        &["retention", "move", "--group", "g", "--to", "0"],
        &["members", "list", "--group", "g"],
        &["health", "--group", "g,h"],
        &["health", "--group", "g,h", "--live"],
    ] {
        let (code, said) = run(look);
        assert!(code == 3 && said.contains("closed"), "{look:?} {code}: {said}");
    }
    let (_, said) = run(&["get", "--group", "g", "--timeout", "1s", "0"]);
    assert!(said.contains("no node could serve this") && !said.contains("reached"), "{said}");
    assert_eq!(run(&["get", "--group", "g", "--node", "n7", "0"]).0, 2);
    assert_eq!(run(&["retention", "move", "--group", "g", "--to", "0", "--node", "n7"]).0, 2);
    rustix::process::kill_process(rustix::process::Pid::from_child(&stays), rustix::process::Signal::TERM).unwrap();
    assert_eq!(stays.wait().unwrap().code(), Some(0));
}
