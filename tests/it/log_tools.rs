//! `dledger log` on the directories of real nodes.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dledger::{Node, NodeId, ReadLimit};
use serde_json::Value;
use tempfile::TempDir;

/// A ledger that a node of its own has written, in segments of the smallest size, and what was appended.
struct Written {
    dir: TempDir,
    records: Vec<String>,
}

impl Written {
    /// Batches of one to three records, until there are three segments.
    async fn new() -> Self {
        let mut written = Self { dir: tempfile::tempdir().unwrap(), records: Vec::new() };
        let node = written.start().await;
        let ledger = node.ledger("g").unwrap();
        for n in 0..90u64 {
            let batch: Vec<String> = (0..1 + n % 3).map(|i| format!("{n}.{i} {}", "x".repeat(900))).collect();
            ledger.append_batch(batch.clone()).await.unwrap();
            written.records.extend(batch);
        }
        node.shutdown().await;
        written
    }

    async fn start(&self) -> Node {
        self.start_group("g").await
    }

    async fn start_group(&self, group: &str) -> Node {
        let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(group.parse().unwrap());
        let builder = builder.data_dir(self.dir.path()).configure(|config| {
            config.segment_size = 64 << 10;
            config.max_record_bytes = 16 << 10;
            config.max_batch_bytes = 16 << 10;
        });
        builder.start().await.unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("g")
    }

    /// A copy of the directory, as a replica has it.
    fn copy(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap(), records: self.records.clone() };
        std::fs::create_dir(copy.path()).unwrap();
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    fn flip(&self, position: u64) {
        let file = self.path().join(format!("{:020}", position / (64 << 10) * (64 << 10)));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[(position % (64 << 10)) as usize] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }

    /// The entries that hold records, as a dump has them.
    fn batches(&self) -> Vec<Value> {
        let (lines, _) = json(&["dump"], &[&self.path()], 0);
        lines.into_iter().filter(|line| line["kind"] == "batch").collect()
    }
}

fn run(args: &[&str], dirs: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.arg("log").arg(args[0]).args(dirs).args(&args[1..]).stdin(Stdio::null()).output().unwrap()
}

/// Standard output and standard error of a command that must end with `code`.
fn text(args: &[&str], dirs: &[&Path], code: i32) -> (String, String) {
    let output = run(args, dirs);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    (out, err)
}

fn json(args: &[&str], dirs: &[&Path], code: i32) -> (Vec<Value>, String) {
    let (out, err) = text(&[args, &["--json"]].concat(), dirs, code);
    (out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), err)
}

#[tokio::test]
async fn a_dump_has_every_record_at_its_index() {
    let written = Written::new().await;
    let (lines, _) = json(&["dump", "--bodies"], &[&written.path()], 0);
    let kind = |name: &str| lines.iter().find(|line| line["name"] == name).map(|file| file["kind"].clone());
    assert_eq!(kind("lock"), Some("lock".into()));
    assert_eq!(kind("ballast"), Some("room set aside for a full disk".into()));
    let entries = lines.iter().filter(|line| line["item"] == "entry");
    let records: Vec<_> = entries.flat_map(|entry| entry["records"].as_array().cloned().unwrap_or_default()).collect();
    let found: Vec<_> = records.iter().map(|r| (r["index"].as_u64().unwrap(), r["body"].as_str().unwrap())).collect();
    let expected: Vec<_> = (0..).zip(written.records.iter().map(String::as_str)).collect();
    assert!(found == expected, "{} records of {}", found.len(), expected.len());
    let items: Vec<_> = lines.iter().map(|line| line["item"].as_str().unwrap()).collect();
    for item in ["file", "identity", "vote", "progress", "segment", "blank", "end"] {
        assert!(items.contains(&item), "no {item}");
    }
    let (part, _) = text(&["dump", "--from", "7", "--to", "9", "--bodies"], &[&written.path()], 0);
    assert_eq!(part.lines().filter(|line| line.starts_with("  record")).count(), 2, "{part}");
}

#[tokio::test]
async fn verify_says_all_is_well_or_where_it_is_not() {
    let written = Written::new().await;
    let (out, _) = text(&["verify"], &[&written.path()], 0);
    assert!(out.contains("3 segments") && out.contains("0 damage") && out.contains("would go on"), "{out}");
    let batch = &written.batches()[5];
    let position = batch["position"].as_u64().unwrap();
    written.flip(position + 200);
    let (lines, err) = json(&["verify"], &[&written.path()], 1);
    let finding = lines.iter().find(|line| line["item"] == "finding").unwrap();
    assert_eq!((&finding["position"], &finding["index"]), (&batch["position"], &batch["index"]));
    assert_eq!((&finding["row"], &finding["at_start"]), (&"rotten body".into(), &"keep".into()));
    assert!(err.contains("1 damaged in"), "{err}");
    let (out, _) = text(&["dump"], &[&written.path()], 1);
    assert!(out.contains("DAMAGE") && out.contains("does not fit"), "{out}");
}

#[tokio::test]
async fn the_directory_of_a_running_node_is_left_alone() {
    let written = Written::new().await;
    let node = written.start().await;
    for args in [&["dump"][..], &["verify"], &["truncate", "--to", "3", "--yes"]] {
        let (_, err) = text(args, &[&written.path()], 2);
        assert!(err.contains("in use by another process"), "{err}");
    }
    node.shutdown().await;
    let (_, err) = text(&["verify"], &[written.dir.path()], 2);
    assert!(err.contains("but g in it is"), "{err}");
}

#[tokio::test]
async fn a_cut_is_shown_first_and_made_with_yes() {
    let written = Written::new().await;
    let batch = written.batches()[50].clone();
    let (to, number) = (batch["index"].as_u64().unwrap(), batch["number"].as_u64().unwrap());
    let cut = to.to_string();
    let (_, err) = text(&["truncate", "--to", &cut, "--yes"], &[&written.path()], 2);
    assert!(err.contains("--discard-committed"), "{err}");
    let inside = (to + 1).to_string();
    let (_, err) = text(&["truncate", "--to", &inside, "--discard-committed"], &[&written.path()], 2);
    assert!(err.contains("inside a batch") && err.contains(&format!("truncate to {cut} or to")), "{err}");
    let (out, err) = text(&["truncate", "--to", &cut, "--discard-committed"], &[&written.path()], 1);
    assert!(out.contains("would remove") && err.contains("--yes"), "{out}{err}");
    let (_, err) = text(&["dump"], &[&written.path()], 0);
    assert_eq!(err, "");
    let (lines, _) = json(&["truncate", "--to", &cut, "--discard-committed", "--yes"], &[&written.path()], 0);
    assert_eq!((&lines[0]["number"], &lines[0]["done"]), (&number.into(), &true.into()));
    text(&["verify"], &[&written.path()], 0);
    // It is a ledger again.
    let node = written.start().await;
    let ledger = node.ledger("g").unwrap();
    assert_eq!(ledger.append("after").await.unwrap().index, to);
    let records = ledger.read(.., ReadLimit::bytes(usize::MAX)).await.unwrap();
    let bodies: Vec<_> = records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect();
    let expected = [&written.records[..to as usize], &["after".to_owned()]].concat();
    assert!(bodies == expected, "{} records", bodies.len());
    node.shutdown().await;
}

#[tokio::test]
async fn a_damaged_log_that_does_not_open_is_cut_in_front_of_the_damage() {
    let written = Written::new().await;
    let last = written.batches().last().cloned().unwrap();
    let (position, index) = (last["position"].as_u64().unwrap(), last["index"].to_string());
    written.flip(position + 100);
    let (lines, _) = json(&["verify"], &[&written.path()], 1);
    assert_eq!(lines.last().unwrap()["at_start"], "refuse");
    text(&["truncate", "--to", &index, "--discard-committed", "--yes"], &[&written.path()], 0);
    let node = written.start().await;
    assert_eq!(node.ledger("g").unwrap().append("after").await.unwrap().index.to_string(), index);
    node.shutdown().await;
}

#[tokio::test]
async fn diff_names_the_first_difference() {
    let left = Written::new().await;
    let (equal, shorter, other) = (left.copy(), left.copy(), left.copy());
    let (out, _) = text(&["diff"], &[&left.path(), &equal.path()], 0);
    assert!(out.starts_with("equal from position 80"), "{out}");
    let batch = left.batches()[40].clone();
    let (to, number) = (batch["index"].to_string(), batch["number"].to_string());
    text(&["truncate", "--to", &to, "--discard-committed", "--yes"], &[&shorter.path()], 0);
    let (out, _) = text(&["diff"], &[&left.path(), &shorter.path()], 1);
    let less = left.batches().len() - 40;
    assert!(out.contains(&format!("has {less} entries")) && out.contains(&format!("number {number}")), "{out}");
    other.flip(batch["position"].as_u64().unwrap() + 300);
    let (lines, _) = json(&["diff"], &[&left.path(), &other.path()], 1);
    assert_eq!((&lines[0]["position"], &lines[0]["number"]), (&batch["position"], &batch["number"]));
    assert_eq!((&lines[0]["bytes"], &lines[0]["right"]["verified"]), (&1.into(), &false.into()));
    let stranger = Written { dir: tempfile::tempdir().unwrap(), records: Vec::new() };
    stranger.start_group("h").await.shutdown().await;
    let (_, err) = text(&["diff"], &[&left.path(), &stranger.dir.path().join("h")], 2);
    assert!(err.contains("not two replicas"), "{err}");
}

#[tokio::test]
async fn output_that_nobody_reads_is_no_error() {
    let written = Written::new().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.args(["log", "dump", "--bodies"]).arg(written.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Some user who is neither root nor this one.
const SERVICE: u32 = 4242;

fn is_root(dir: &Path) -> bool {
    std::fs::metadata(dir).unwrap().uid() == 0
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `dledger log` as another user if this one is root, who may do anything; else as this one.
fn run_restricted(dir: &TempDir, args: &[&str], dirs: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    if is_root(dir.path()) {
        // Where that user can get at it.
        let binary = dir.path().join("dledger");
        if !binary.exists() {
            // Copied by a process of its own: a child that another test starts meanwhile would inherit the descriptor
            // that writes the copy, and until it is closed the copy cannot be run.
            let copied = Command::new("cp").args([Path::new(env!("CARGO_BIN_EXE_dledger")), &binary]).status();
            assert!(copied.unwrap().success());
        }
        command = Command::new(binary);
        command.uid(SERVICE).gid(SERVICE).current_dir("/");
    }
    command.arg("log").args(args).args(dirs).output().unwrap()
}

#[tokio::test]
async fn what_may_only_be_read_is_looked_at_and_left_as_it_is() {
    let copy = Written::new().await.copy();
    let files = || std::fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().path());
    permit(copy.dir.path(), 0o755);
    files().for_each(|file| permit(&file, 0o444));
    permit(&copy.path(), 0o555);
    let path = copy.path();
    let path = path.as_path();
    let looks: [(&str, Vec<&Path>); 3] = [("verify", vec![path]), ("dump", vec![path]), ("diff", vec![path, path])];
    let look = |note: &str| {
        for (command, dirs) in &looks {
            let output = run_restricted(&copy.dir, &[*command], dirs);
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{command}: {err}");
            assert!(if note.is_empty() { err.is_empty() } else { err.contains(note) }, "{command}: {err}");
        }
    };
    look("");
    permit(&copy.path().join("lock"), 0o000);
    look("is read without its lock (Permission denied");
    permit(&copy.path(), 0o755);
    std::fs::remove_file(copy.path().join("lock")).unwrap();
    permit(&copy.path(), 0o555);
    look("is read without its lock (it has no file lock)");
    assert!(!copy.path().join("lock").exists());
    permit(&copy.path(), 0o755);
}

#[tokio::test]
async fn what_root_leaves_the_service_can_open() {
    let written = Written::new().await;
    if !is_root(written.dir.path()) {
        eprintln!("skipped: not root, so there is nothing to leave to others");
        return;
    }
    let files = || std::fs::read_dir(written.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in files().chain([written.path(), written.dir.path().to_owned()]) {
        std::os::unix::fs::chown(path, Some(SERVICE), Some(SERVICE)).unwrap();
    }
    let cut = written.batches()[50]["index"].to_string();
    let (_, err) = text(&["truncate", "--to", &cut, "--discard-committed", "--yes"], &[&written.path()], 0);
    assert!(err.contains("are given to its owner, 4242:4242"), "{err}");
    // It makes a lock, a spare, indexes, and replaces small files.
    std::fs::remove_file(written.path().join("lock")).unwrap();
    let node = written.start().await;
    for n in 0..90u64 {
        node.ledger("g").unwrap().append(format!("{n} {}", "x".repeat(900))).await.unwrap();
    }
    node.shutdown().await;
    for file in files() {
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), (SERVICE, SERVICE), "{}", file.display());
    }
    permit(written.dir.path(), 0o755);
    // It wants to write: the lock for itself alone.
    let output =
        run_restricted(&written.dir, &["truncate", "--to", &cut, "--discard-committed", "--yes"], &[&written.path()]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
}
