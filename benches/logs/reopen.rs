//! Opening a log whose process was killed while it appended. The page cache is warm: the machine did not die.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::append::records;
use crate::peers::{PEERS, Peer, Use};
use crate::table::{Tables, Unit};
use crate::{RECORD, Scale, remove};

/// Names the log that a child of this program appends to, its directory, and how many bytes it writes before it
/// says so.
const CHILD: [&str; 3] = ["DLEDGER_BENCH_PEER", "DLEDGER_BENCH_DIR", "DLEDGER_BENCH_BYTES"];

/// Records of a call.
const BATCH: usize = 1024;

pub fn run(tables: &mut Tables, scale: Scale, dir: &Path, wanted: impl Fn(&str, &Peer) -> bool) {
    let table = tables.begin("reopen after kill -9", Unit::Milliseconds);
    let row = tables.row(table, &format!("{:.1} GB of 1 KiB", scale.reopen as f64 / 1e9));
    let dir = dir.join("reopen");
    for peer in PEERS.iter().filter(|peer| wanted("reopen", peer)) {
        let mut times: Vec<f64> = (0..scale.runs).map(|_| reopen(peer, scale.reopen, &dir)).collect();
        times.sort_by(f64::total_cmp);
        println!("reopen/{:<12} {times:.1?} ms", peer.name);
        tables.put(row, peer.name, times[times.len() / 2], !peer.checks_when_opened);
    }
}

fn reopen(peer: &Peer, bytes: u64, dir: &Path) -> f64 {
    // What the runs before this one left for the disk to do is not part of it.
    rustix::fs::sync();
    killed_while_appending(peer, bytes, dir);
    let start = Instant::now();
    let log = (peer.open)(dir, Use { sync: true, bytes: 2 * bytes });
    let spent = start.elapsed();
    let (found, written) = (log.records(), bytes / RECORD as u64);
    assert!(found >= written, "{}: {found} records of at least {written} came back", peer.name);
    log.discard(dir);
    remove(dir);
    spent.as_secs_f64() * 1e3
}

fn killed_while_appending(peer: &Peer, bytes: u64, dir: &Path) {
    let program = std::env::current_exe().expect("the program knows where it is");
    let values = [peer.name.to_owned(), dir.display().to_string(), bytes.to_string()];
    let mut child = Command::new(program)
        .envs(CHILD.into_iter().zip(values))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts once more");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is a pipe");
    BufReader::new(output).read_line(&mut line).expect("the child says when it has written");
    child.kill().expect("it can be killed");
    child.wait().expect("it is gone");
    assert_eq!(line, "written\n", "{} ended early", peer.name);
}

/// If this process is to be killed: appends until it is. Says whether it was that process.
pub fn is_child() -> bool {
    let [Ok(name), Ok(dir), Ok(bytes)] = CHILD.map(std::env::var) else { return false };
    let bytes: u64 = bytes.parse().expect("a number of bytes");
    let peer = PEERS.iter().find(|peer| peer.name == name).expect("one of the logs");
    let mut log = (peer.open)(Path::new(&dir), Use { sync: true, bytes: 2 * bytes });
    let records = records(RECORD, BATCH);
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let call = (BATCH * RECORD) as u64;
    // Twice as much at most, should nobody kill it.
    let mut written = 0;
    while written + call <= 2 * bytes {
        log.append(&records);
        let before = written;
        written += call;
        if before < bytes && written >= bytes {
            println!("written");
            std::io::stdout().flush().expect("somebody listens");
        }
    }
    true
}
