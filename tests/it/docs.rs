//! The documents' commands, as they are printed.
//!
//! A block of a document in which a line begins with `$ ` is a transcript: what follows such a line is what the command
//! prints. Figures differ from run to run; how many lines there are, and what each begins with, does not.

use std::path::{Path, PathBuf};

use dledger::Durability;
use tokio::process::Command;

use crate::common::{kit, patient};

/// A block between fences.
struct Block {
    document: &'static str,
    line: usize,
    text: Vec<String>,
}

const DOCUMENTS: [(&str, &str); 5] = [
    ("README.md", include_str!("../../README.md")),
    ("operations.md", include_str!("../../docs/operations.md")),
    ("retention.md", include_str!("../../docs/retention.md")),
    ("tools.md", include_str!("../../docs/tools.md")),
    ("recovery.md", include_str!("../../docs/recovery.md")),
];

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (document, text) in DOCUMENTS {
        let mut open: Option<Block> = None;
        for (line, words) in (1..).zip(text.lines()) {
            match (&mut open, words.starts_with("```")) {
                (None, true) => open = Some(Block { document, line, text: Vec::new() }),
                (Some(_), true) => blocks.extend(open.take()),
                (Some(block), false) => block.text.push(words.to_owned()),
                (None, false) => {}
            }
        }
    }
    blocks
}

/// The block in which there is such a line.
fn block(line: &str) -> Block {
    let found: Vec<_> = blocks().into_iter().filter(|block| block.text.iter().any(|have| have == line)).collect();
    assert_eq!(found.len(), 1, "blocks with {line:?}");
    found.into_iter().next().unwrap()
}

impl Block {
    /// Each command, and what it is said to print.
    fn transcript(&self) -> Vec<(String, Vec<String>)> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for line in &self.text {
            match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push((command.to_owned(), Vec::new())),
                (None, Some((_, printed))) => printed.push(line.clone()),
                (None, None) => panic!("{} line {}: {line:?} comes before any command", self.document, self.line),
            }
        }
        assert!(!all.is_empty());
        all
    }
}

/// What it prints, run by a shell that finds `dledger`.
async fn run(dir: &Path, command: &str, variables: &[(&str, String)]) -> Vec<String> {
    let bin = Path::new(env!("CARGO_BIN_EXE_dledger")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(dir).env("PATH", path).kill_on_drop(true);
    let output = patient(shell.envs(variables.iter().map(|(name, value)| (name, value))).output()).await.unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

/// That a command prints what the document says, but for the figures.
async fn checked(dir: &Path, command: &str, expected: &[String], variables: &[(&str, String)]) {
    let printed = run(dir, command, variables).await;
    let begins = |lines: &[String]| {
        let first = lines.iter().map(|line| line.split_whitespace().next().unwrap_or_default().to_owned());
        first.collect::<Vec<_>>()
    };
    assert_eq!(begins(&printed), begins(expected), "{command}\nprinted:\n{}", printed.join("\n"));
}

/// Not what a dependency is called.
fn is_one(command: &str) -> bool {
    command.starts_with("dledger ") && !command.starts_with("dledger =")
}

#[tokio::test]
async fn every_command_of_the_documents_is_one() {
    let (dir, mut count) = (tempfile::tempdir().unwrap(), 0);
    for block in blocks() {
        let text = block.text.join("\n").replace("\\\n", " ");
        for line in text.lines() {
            let line = line.strip_prefix("$ ").unwrap_or(line).split(" #").next().unwrap();
            for command in line.split('|').map(str::trim).filter(|command| is_one(command)) {
                // An option that there is not is refused before the help is given.
                let command = format!("PEERS=n0=h:1; {} --help", command.replace('…', ""));
                let printed = run(dir.path(), &command, &[]).await.join("\n");
                let place = format!("{} line {}: {command}: {printed}", block.document, block.line);
                assert!(printed.contains("Usage: dledger ") && !printed.starts_with("error"), "{place}");
                count += 1;
            }
        }
    }
    assert!(count >= 20, "{count} commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_cluster_that_runs_is_what_it_does() {
    let mut cluster = kit(3).durability(Durability::Sync).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let peers = cluster.peers().to_string();
    let variables = [("DLEDGER_GROUP", "g".into()), ("DLEDGER_PEERS", peers.clone()), ("PEERS", peers)];
    for line in [
        "$ seq 1 100000 | dledger append --lines",
        "$ dledger members list --group orders --peers \"$PEERS\"",
        "$ dledger retention show",
        "$ dledger retention move --to 5000 --node n1",
    ] {
        for (command, expected) in block(line).transcript() {
            let command = command.replace("--group orders", "--group g");
            checked(dir.path(), &command, &expected, &variables).await;
            // Slaves hear of the last commit with the next heartbeat.
            cluster.wait_committed(cluster.ledger(master).unwrap().status().committed).await.unwrap();
        }
    }
    cluster.stop_all().await;
}

/// Copies the files of a ledger.
fn copy(from: &Path, to: &PathBuf) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_stopped_node_is_what_the_tools_do() {
    let mut cluster = kit(1).durability(Durability::Sync).segment_size(32 << 20).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    for batch in 1..=3 {
        cluster.ledger(0).unwrap().append_batch((0..1000).map(|n| (batch * 1000 + n).to_string())).await.unwrap();
    }
    cluster.stop(0).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for copied in ["d0", "d1"] {
        copy(&cluster.dir(0).join("g"), &dir.path().join(copied).join("g"));
    }
    for (line, damages) in [
        ("$ dledger log verify d0/g", true),
        ("$ dledger log verify d1/g", false),
        ("$ dledger log dump d0/g --from 2998 --bodies", false),
        ("$ dledger log truncate d1/g --to 2000", false),
    ] {
        // One of the two differences is the damage, and the other one what was cut off.
        if line.contains("truncate") {
            let diff =
                blocks().into_iter().find(|block| block.text.first().is_some_and(|l| l.contains("log diff"))).unwrap();
            for (command, expected) in diff.transcript() {
                checked(dir.path(), &command, &expected, &[]).await;
            }
        }
        for (command, expected) in block(line).transcript() {
            checked(dir.path(), &command, &expected, &[]).await;
        }
        if damages {
            let segment = dir.path().join("d1/g/00000000000000000000");
            let mut bytes = std::fs::read(&segment).unwrap();
            bytes[24_600] ^= 0xff;
            std::fs::write(&segment, bytes).unwrap();
        }
    }
}
