//! Votes and entries as Raft hands them to its log storage, in every order that Raft may: all short sequences of calls,
//! the power lost after every step of the last one, and of what was not synced every part kept.
//!
//! Raft takes what it saves for one sequence: what is saved later is durable later, and a vote that is saved says that
//! all entries handed over before it are. So the laws are about both together.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::OneshotReceiverOf;
use tokio::sync::mpsc;

use crate::disk::sim::{Rng, SimDisk};
use crate::format::entry::EntryKind;
use crate::format::frame::Draft;
use crate::format::hard_state::HardVote;
use crate::log::tests::crash::driver::{SIZE, assert_no_roll_without_its_entry};
use crate::log::tests::crash::model::{Promise, Written};
use crate::log::tests::crash::points::number;
use crate::log::tests::crash::{EVERYTHING, images, script};
use crate::log::tests::kit::{self, Later};
use crate::log::{Committer, LogReader};
use crate::raft::append::inflight::InflightBatch;
use crate::raft::blocking::inline_on_this_thread;
use crate::raft::entry::{Entry, Payload, Proposed};
use crate::raft::log_id::{RaftVote, log_id};
use crate::raft::storage::log_store::LogStore;
use crate::raft::{TokioRuntime, TypeConfig};
use crate::types::NodeId;

type Config = TypeConfig<TokioRuntime>;

/// Calls of the longest sequence.
const LONGEST: usize = 9;
/// Images that are checked if nobody says otherwise.
const USUAL: u64 = 8_000;
/// A crash point with more images has so many of them checked by chance.
const MOST: u64 = 256;

/// A call of Raft's, or something that happens beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Another node asks for the vote of the next term, and gets it.
    Vote,
    /// The one that was voted for leads.
    Lead,
    /// An entry of the term.
    Append,
    /// An entry of the term that begins a segment.
    Roll,
    /// The flush pass that is due.
    Flush,
    /// A later leader's log lacks the last entry.
    Truncate,
    /// All entries are committed.
    Commit,
    /// All that is committed goes, but for the last entry.
    Purge,
}

const CALLS: [Call; 8] =
    [Call::Vote, Call::Lead, Call::Append, Call::Roll, Call::Flush, Call::Truncate, Call::Commit, Call::Purge];

/// The power is gone.
struct Dark;

/// One life of a log, as Raft sees it.
struct Life {
    disk: SimDisk,
    later: Arc<Later>,
    store: LogStore<TokioRuntime>,
    log: LogReader,
    committer: Committer,
    promise: Promise,
    /// Terms of the entries, from the first that was ever written.
    terms: Vec<u64>,
    /// Appends that wait, and the entry after theirs.
    waiting: Vec<(OneshotReceiverOf<Config, io::Result<()>>, u64)>,
}

impl Life {
    /// On a disk where all that was written before is durable.
    fn begin(base: &SimDisk) -> Self {
        // Nobody waits here.
        inline_on_this_thread();
        let disk = base.image(EVERYTHING);
        let later = Later::new(&disk, true);
        let log = kit::open(&disk, SIZE, None, &later).unwrap();
        let promise = Promise::of_nothing().found(&log);
        let (reader, committer) = (log.reader(), log.committer());
        let store = LogStore::new(log, Arc::new(|| 1000), Arc::default());
        Self { disk, later, store, log: reader, committer, promise, terms: Vec::new(), waiting: Vec::new() }
    }

    /// Whether Raft may do that now.
    fn may(&self, call: Call) -> bool {
        let vote = self.promise.vote.as_ref();
        let leads = vote.is_some_and(|vote| vote.granted);
        let end = self.terms.len() as u64;
        match call {
            Call::Vote => true,
            Call::Lead => vote.is_some() && !leads,
            Call::Append | Call::Roll => leads,
            Call::Flush => !self.waiting.is_empty(),
            Call::Truncate => {
                let last = self.terms.last().filter(|_| end > self.promise.committed);
                leads && last.is_some_and(|last| vote.is_some_and(|vote| vote.term > *last))
            }
            Call::Commit => end > self.promise.committed,
            Call::Purge => self.promise.committed > self.promise.first + 1,
        }
    }

    /// What a call gave back, unless the power went meanwhile.
    fn settle<T>(&self, result: io::Result<T>) -> Result<T, Dark> {
        if self.disk.is_on() { Ok(result.expect("no call has failed")) } else { Err(Dark) }
    }

    fn perform(&mut self, call: Call) -> Result<(), Dark> {
        let end = self.terms.len() as u64;
        match call {
            Call::Vote | Call::Lead => self.vote(call == Call::Lead),
            Call::Append | Call::Roll => self.append(end, call == Call::Roll),
            Call::Flush => {
                self.later.flush();
                self.hear();
                self.settle(Ok(()))
            }
            Call::Truncate => {
                let last = (end - 1).checked_sub(1).map(|last| log_id(self.terms[last as usize], last));
                let before = self.promise.now().clone();
                self.promise.now().truncate(end - 1);
                self.promise.versions.push(before);
                self.promise.durable = self.promise.durable.min(end - 1);
                self.terms.pop();
                let truncated = self.store.truncate_after(last).now_or_never().expect("no wait");
                self.settle(truncated)?;
                // From now on it does not come back.
                self.promise.versions.truncate(1);
                self.waiting.iter_mut().for_each(|(_, upto)| *upto = (*upto).min(end - 1));
                Ok(())
            }
            Call::Commit => {
                self.promise.committed = end;
                let committed = self.committer.commit(end - 1).map_err(io::Error::other);
                self.settle(committed)
            }
            Call::Purge => {
                let upto = self.promise.committed - 2;
                self.promise.purging = Some(upto + 1);
                let id = log_id(self.terms[upto as usize], upto);
                let purged = self.store.purge(id).now_or_never().expect("no wait");
                self.settle(purged)?;
                (self.promise.first, self.promise.purging) = (upto + 1, None);
                Ok(())
            }
        }
    }

    fn vote(&mut self, leads: bool) -> Result<(), Dark> {
        let now = self.promise.vote.as_ref().map_or(0, |vote| vote.term);
        let (term, node) = (if leads { now } else { now + 1 }, NodeId::new(1));
        let vote = if leads { RaftVote::new_committed(term, node.clone()) } else { RaftVote::new(term, node.clone()) };
        self.promise.voting = Some(HardVote { term, node: Some(node), granted: leads });
        let saved = self.store.save_vote(&vote).now_or_never().expect("no wait");
        self.hear();
        self.settle(saved)?;
        self.promise.vote = self.promise.voting.take();
        // Raft counts all that came before it as durable.
        self.promise.durable = self.terms.len() as u64;
        Ok(())
    }

    fn append(&mut self, number: u64, roll: bool) -> Result<(), Dark> {
        let term = self.promise.vote.as_ref().map_or(0, |vote| vote.term);
        // Two fill a segment.
        let batch = vec![format!("{:.<3000}", format!("entry {number} of term {term}"))];
        let (draft, records) = match roll {
            true => (Draft::control(EntryKind::Roll, b""), Vec::new()),
            false => (Draft::batch(&batch), batch),
        };
        let inflight = InflightBatch::new(draft.length(), Vec::new(), mpsc::unbounded_channel().0);
        let entry = <Entry as RaftEntry>::new(log_id(term, number), Payload::Batch(Proposed { draft, inflight }));
        let (told, hears) = Config::oneshot();
        let appended = self.store.append([entry], IOFlushed::signal(told)).now_or_never().expect("no wait");
        if let Ok(Some(frame)) = self.log.frame(number) {
            // Also when the power has gone since: it may be on the disk.
            self.promise.now().push(Written { frame, records: Rc::new(records) });
            self.terms.push(term);
        }
        self.waiting.push((hears, number + 1));
        self.hear();
        self.settle(appended)
    }

    /// What the storage has acknowledged meanwhile.
    fn hear(&mut self) {
        let (on, mut acked) = (self.disk.is_on(), 0);
        self.waiting.retain_mut(|(told, upto)| match told.now_or_never() {
            Some(Ok(Ok(()))) => {
                acked = acked.max(*upto);
                false
            }
            // A newer one speaks for it.
            Some(_) => false,
            None => true,
        });
        if on {
            self.promise.durable = self.promise.durable.max(acked);
        }
    }

    /// The life ends. What it promised stays.
    fn end(self) -> (SimDisk, Promise) {
        self.later.forget();
        (self.disk, self.promise)
    }
}

/// What was checked.
#[derive(Default)]
struct Checked {
    workloads: u64,
    points: u64,
    /// Points of which not all images were checked.
    sampled: u64,
    images: u64,
}

impl Checked {
    fn point(&mut self, disk: &SimDisk, promise: &Promise, at: &str) {
        self.points += 1;
        self.sampled += u64::from(disk.every_image(MOST as usize).is_none());
        let mut rng = Rng::new(self.points);
        for (image, disk) in images(disk, MOST - 2, &mut rng).iter().enumerate() {
            let told = script::Told(format!("{at}, image {image}"));
            check(disk, promise);
            self.images += 1;
            told.keep();
        }
    }
}

/// What the next life finds keeps the promise, and is what Raft can go on with.
fn check(disk: &SimDisk, promise: &Promise) {
    let later = Later::new(disk, true);
    let log = kit::open(disk, SIZE, None, &later).unwrap_or_else(|error| panic!("refused to open: {error}"));
    let found = promise.found(&log);
    let (reader, terms) = (log.reader(), found.vote.as_ref().map_or(0, |vote| vote.term));
    for number in reader.numbers() {
        let term = reader.entry_header(number).unwrap().unwrap().term;
        assert!(term <= terms, "entry {number} of term {term} is there, and the vote is of {terms}");
    }
    assert_no_roll_without_its_entry(&log);
    let mut store: LogStore<TokioRuntime> = LogStore::new(log, Arc::new(|| 1000), Arc::default());
    let (end, read) = async {
        let state = store.get_log_state().await.unwrap();
        (state.last_log_id.map_or(0, |last| last.index + 1), store.get_log_reader().await.read_vote().await.unwrap())
    }
    .now_or_never()
    .expect("no wait");
    assert_eq!(end, reader.numbers().end, "the last entry that Raft is told of");
    assert_eq!(read.map(|vote| vote.leader_id.term), found.vote.map(|vote| vote.term), "the vote that Raft is told of");
    later.forget();
}

/// Runs `calls`, with the power lost after `steps` of the last one. `None` if Raft may not do so.
fn run(base: &SimDisk, calls: &[Call], steps: Option<u64>) -> Option<(Life, u64)> {
    let mut life = Life::begin(base);
    let (last, before) = calls.split_last()?;
    for call in before {
        if !life.may(*call) || life.perform(*call).is_err() {
            return None;
        }
    }
    if !life.may(*last) {
        return None;
    }
    let began = life.disk.steps();
    if let Some(steps) = steps {
        life.disk.lose_power_after(steps);
    }
    let ended = life.perform(*last);
    assert_eq!(ended.is_err(), steps.is_some(), "{calls:?}");
    let took = life.disk.steps() - began;
    Some((life, took))
}

/// A log that was made, and all of it durable.
fn fresh() -> SimDisk {
    let disk = SimDisk::new();
    let later = Later::new(&disk, true);
    drop(kit::open(&disk, SIZE, None, &later).unwrap());
    later.forget();
    disk.image(EVERYTHING)
}

/// A vote and an entry that were acknowledged are there, in the order of Raft; what was truncated is not; terms do not
/// fall; and no entry is there without the vote that it was written under.
#[test]
fn votes_and_entries_survive_any_crash_in_order() {
    let (base, most) = (fresh(), number("DLEDGER_CRASH_POINTS").unwrap_or(USUAL));
    let mut checked = Checked::default();
    let mut queue: VecDeque<Vec<Call>> = CALLS.iter().map(|call| vec![*call]).collect();
    while let Some(calls) = queue.pop_front() {
        if checked.images >= most {
            queue.push_front(calls);
            break;
        }
        let Some((life, steps)) = run(&base, &calls, None) else { continue };
        let (disk, promise) = life.end();
        checked.workloads += 1;
        checked.point(&disk, &promise, &format!("{calls:?}, all done"));
        for step in 1..steps {
            let Some((life, _)) = run(&base, &calls, Some(step)) else { panic!("{calls:?} cannot be run again") };
            let (disk, promise) = life.end();
            checked.point(&disk, &promise, &format!("{calls:?}, power lost after step {step} of the last call"));
        }
        if calls.len() < LONGEST {
            queue.extend(CALLS.iter().map(|call| [&calls[..], &[*call]].concat()));
        }
    }
    // All shorter ones came before.
    let complete = queue.front().map_or(LONGEST, |next| next.len() - 1);
    let Checked { workloads, points, sampled, images } = checked;
    println!("votes and entries: {workloads} workloads, {points} crash points, {images} images, 0 violations");
    println!(
        "votes and entries: all workloads of up to {complete} calls; {sampled} crash points had over {MOST} images"
    );
    if !queue.is_empty() {
        println!(
            "votes and entries: the rest was skipped: DLEDGER_CRASH_POINTS=10000000 runs all up to {LONGEST} calls"
        );
    }
}
