//! Real files, a real process, `kill -9`: every promise that the process has printed holds.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::points::number;
use crate::disk::real::RealDisk;
use crate::disk::sim::Rng;
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::directory::Identity;
use crate::log::tests::closed;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Completion, Log, LogOptions};
use crate::types::{Incarnation, ReadLimit};

const SIZE: u64 = 8192;
/// Where the child finds its directory, and which life it is.
const DIR: &str = "DLEDGER_CRASH_CHILD";
const LIFE: &str = "DLEDGER_CRASH_LIFE";
/// Prefix of the lines of the child that the parent reads.
const MARK: &str = "> ";

#[test]
fn a_killed_process_loses_nothing_it_has_said() {
    let (kills, seed) = (number("DLEDGER_KILLS").unwrap_or(10), number("DLEDGER_SEED").unwrap_or(0));
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for life in 0..kills {
        let mut child = Child::start(dir.path(), life);
        let lines = child.kill_after(1 + rng.below(120));
        assert!(!lines.is_empty(), "life {life} said nothing");
        lines.iter().for_each(|line| said.hear(line));
        let log = open(dir.path(), life);
        said.check(&log, &format!("seed {seed}, life {life}"));
        closed(log);
    }
    println!("{kills} processes killed, {} entries acknowledged, {} left behind a purge", said.acked, said.first);
}

/// What the children have said, as far as it still holds.
#[derive(Default)]
struct Said {
    /// Entries below were acknowledged and not truncated since.
    acked: u64,
    committed: u64,
    /// The first entry: surely, and if a purge was under way.
    first: u64,
    purging: u64,
    vote: u64,
    voting: u64,
    /// From which number on which term has written.
    terms: Vec<(u64, u64)>,
    /// The same before a truncation that is under way.
    before: Option<Vec<(u64, u64)>>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (what, number) = line.split_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        match what {
            "acked" => self.acked = self.acked.max(number),
            "committing" => self.committed = self.committed.max(number),
            "purging" => self.purging = number,
            "purged" => self.first = number,
            "voting" => self.voting = number,
            "voted" => self.vote = number,
            "truncating" => {
                self.acked = self.acked.min(number);
                self.before = Some(self.terms.clone());
                self.terms.retain(|(from, _)| *from < number);
            }
            "truncated" => self.before = None,
            "writing" => {
                // Behind what is there: said before the first entry of the term.
                let (from, term) = (number >> 32, number & u64::from(u32::MAX));
                self.terms.retain(|(known, _)| *known < from);
                self.terms.push((from, term));
            }
            _ => panic!("{line:?}"),
        }
    }

    fn check(&mut self, log: &Log, at: &str) {
        let (reader, end) = (log.reader(), log.end().number);
        let first = log.purged().map_or(0, |purged| purged.number + 1);
        assert!(first == self.first || first == self.purging, "{at}: {first} is first, {} was", self.first);
        assert!(end >= self.acked, "{at}: {} entries were acknowledged, {end} are left", self.acked);
        assert_eq!(reader.numbers(), first..end, "{at}: entries that are there");
        let point = reader.progress().commit_point().number;
        assert!(point <= self.committed, "{at}: {point} committed, {} were", self.committed);
        let vote = reader.vote().map_or(0, |vote| vote.term);
        assert!(vote == self.vote || vote == self.voting, "{at}: a vote of term {vote} for {}", self.vote);
        let written_so = |terms: &Vec<(u64, u64)>| {
            let headers = reader.numbers().map(|number| reader.entry_header(number).unwrap().unwrap());
            headers.into_iter().all(|header| Some(header.term) == term_of(terms, header.number))
        };
        assert!(written_so(&self.terms) || self.before.as_ref().is_some_and(written_so), "{at}: never written so");
        if end > first {
            check_bytes(log, at);
        }
        // The next process begins with everything that this one has seen.
        (self.vote, self.first) = (vote, first);
        (self.voting, self.purging, self.before, self.acked) = (vote, first, None, end);
        self.terms = (first..end).map(|number| (number, reader.entry_header(number).unwrap().unwrap().term)).collect();
    }
}

fn term_of(terms: &[(u64, u64)], number: u64) -> Option<u64> {
    terms.iter().rev().find(|(from, _)| *from <= number).map(|(_, term)| *term)
}

/// Every entry holds what an entry of its number and term holds.
fn check_bytes(log: &Log, at: &str) {
    let reader = log.reader();
    for number in reader.numbers() {
        let header = reader.frame(number).unwrap().unwrap().header;
        assert_eq!(header.records as usize, records(number, header.term).len(), "{at}: entry {number}");
    }
    // Only committed records are served. This is not remembered: the log is not flushed.
    log.committer().commit(log.end().number - 1).unwrap();
    let mut index = reader.progress().first();
    for number in reader.numbers() {
        let term = reader.entry_header(number).unwrap().unwrap().term;
        for expected in records(number, term) {
            let found = reader.record(index).unwrap();
            assert!(found.body == expected && found.term == term, "{at}: record {index} of entry {number}");
            index += 1;
        }
    }
    assert_eq!(index, reader.progress().end(), "{at}");
    let all = reader.records(reader.progress().first()..index, ReadLimit::bytes(usize::MAX));
    assert_eq!(all.map_or(0, |all| all.len() as u64), index - reader.progress().first(), "{at}");
}

/// What entry `number` of `term` holds. None: it is a control entry.
fn records(number: u64, term: u64) -> Vec<String> {
    let mut rng = Rng::new(number << 32 | term);
    let record = |at: u64, rng: &mut Rng| {
        let text = format!("{number}.{at} of term {term}. ");
        text.repeat(1 + rng.below(40) as usize)
    };
    (0..rng.below(4)).map(|at| record(at, &mut rng)).collect()
}

fn open(dir: &Path, life: u64) -> Log {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: SIZE,
        incarnation: Incarnation::from_u128(1),
    };
    let options = LogOptions {
        segment_size: SIZE,
        interval: (life % 2 == 1).then_some(Duration::from_millis(5)),
        scheduler: Arc::new(FlushThread::start().unwrap()),
        background: Arc::new(BackgroundThread::start().unwrap()),
    };
    Log::open(Arc::new(RealDisk), dir.join("log"), identity, options).unwrap().0
}

/// A child process; dropped, it is killed, so that none is left behind.
struct Child(std::process::Child);

impl Child {
    fn start(dir: &Path, life: u64) -> Self {
        let module = module_path!().split_once("::").unwrap().1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::the_process_that_is_killed"), "--ignored", "--nocapture"])
            .env(DIR, dir)
            .env(LIFE, life.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Kills the process once it has printed `count` lines. Returns all lines that it has printed.
    fn kill_after(&mut self, count: u64) -> Vec<String> {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the output. On its own, so that a child that hangs is noticed.
        std::thread::spawn(move || output.split(b'\n').try_for_each(|line| sender.send(line).map_err(drop)));
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => said.extend(line.unwrap().strip_prefix(MARK.as_bytes()).map(<[u8]>::to_vec)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the process hangs after {} things", said.len()),
            }
            if said.len() as u64 == count {
                self.0.kill().unwrap();
            }
        }
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "ended by itself after {} things: {status}", said.len());
        said.into_iter().filter_map(|line| whole(&String::from_utf8(line).unwrap())).collect()
    }
}

/// The content of a complete line; `None` for a line that was cut off: every complete one ends with a full stop.
fn whole(line: &str) -> Option<String> {
    line.strip_suffix('.').map(str::to_owned)
}

impl Drop for Child {
    fn drop(&mut self) {
        // If it is dead already, all the better.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints a line for the parent. Without a parent, ends the process.
fn say(what: &str, number: u64) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{MARK}{what} {number}.").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

#[test]
#[ignore = "the other half of a_killed_process_loses_nothing_it_has_said"]
fn the_process_that_is_killed() {
    let (Ok(dir), Some(life)) = (std::env::var(DIR), number(LIFE)) else { return };
    // The harness has begun a line.
    println!();
    let mut log = open(&PathBuf::from(dir), life);
    let mut rng = Rng::new(life);
    let mut term = log.end().term;
    let next_term = |log: &Log, term: &mut u64| {
        *term += 1;
        say("writing", log.end().number << 32 | *term);
    };
    next_term(&log, &mut term);
    // Far more than the parent waits for.
    for _ in 0..20_000 {
        let (end, known) = (log.end().number, log.progress().commit_point().number);
        match rng.below(20) {
            0 => {
                let vote = log.reader().vote().map_or(0, |vote| vote.term) + 1;
                say("voting", vote);
                log.save_vote(HardVote { term: vote, node: Some("n1".parse().unwrap()), granted: false }).unwrap();
                say("voted", vote);
            }
            1..4 if end > known => {
                let commit = known + 1 + rng.below(end - known);
                say("committing", commit);
                log.committer().commit(commit - 1).unwrap();
            }
            4 if end > known => {
                let from = known + rng.below(end - known);
                say("truncating", from);
                log.truncate(from).unwrap();
                say("truncated", from);
                next_term(&log, &mut term);
            }
            5 if known > 20 && log.purged().is_none_or(|purged| purged.number + 20 < known) => {
                let first = known - rng.below(10);
                say("purging", first);
                log.purge(term, first - 1).unwrap();
                say("purged", first);
            }
            _ => append_some(&mut log, term, 1 + rng.below(6)),
        }
    }
}

/// Appends entries and waits until they are as durable as the log's setting says.
fn append_some(log: &mut Log, term: u64, count: u64) {
    let (sender, receiver) = mpsc::channel();
    for _ in 0..count {
        let number = log.end().number;
        let records = records(number, term);
        let draft = if records.is_empty() { Draft::control(EntryKind::Blank, b"") } else { Draft::batch(&records) };
        log.append_draft(draft, term, 0).unwrap();
        let done = sender.clone();
        log.on_durable(Completion::new(move |result| {
            result.unwrap();
            say("acked", number + 1);
            // The last one may have been waited for already.
            let _ = done.send(number);
        }));
    }
    drop(sender);
    // Older completions are superseded by the newest of their pass.
    while receiver.recv().is_ok() {}
}
