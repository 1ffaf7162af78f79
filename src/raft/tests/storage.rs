//! openraft's own conformance suite, on real files with real syncs; and what a gate and a start do with such a log.

use std::path::Path;
use std::sync::Arc;

use futures::stream;
use openraft::entry::RaftEntry;
use openraft::impls::TokioRuntime;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::config::Retention;
use crate::disk::real::RealDisk;
use crate::error::OpenError;
use crate::format::frame::Draft;
use crate::format::segment::Cursor;
use crate::log::directory::Identity;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Background, Log, LogOptions};
use crate::raft::TypeConfig;
use crate::raft::append::disk_admission::DiskAdmission;
use crate::raft::entry::Entry;
use crate::raft::log_id::{RaftVote, log_id};
use crate::raft::membership::codec::{SnapshotMeta, StoredMembership};
use crate::raft::storage::log_store::LogStore;
use crate::raft::storage::state_machine::StateMachine;
use crate::types::Incarnation;

type Config = TypeConfig<TokioRuntime>;
type Stores = (TempDir, LogStore<TokioRuntime>, StateMachine<TokioRuntime>);

struct Builder;

impl StoreBuilder<Config, LogStore<TokioRuntime>, StateMachine<TokioRuntime>, TempDir> for Builder {
    async fn build(&self) -> Result<Stores, openraft::StorageError<Config>> {
        let dir = tempfile::tempdir().unwrap();
        let (store, machine) = stores(open(dir.path()));
        Ok((dir, store, machine))
    }
}

fn open(dir: &Path) -> Log {
    open_with(dir, Arc::new(BackgroundThread::start().unwrap()))
}

/// File work is done at once.
struct AtOnce;

impl Background for AtOnce {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

fn open_with(dir: &Path, background: Arc<dyn Background>) -> Log {
    let identity = Identity {
        cluster: "c".parse().unwrap(),
        group: "g".parse().unwrap(),
        node: "n0".parse().unwrap(),
        segment_size: 64 << 10,
        incarnation: Incarnation::from_slice(&[7; 16]).unwrap(),
    };
    let options = LogOptions {
        segment_size: identity.segment_size,
        interval: None,
        scheduler: Arc::new(FlushThread::start().unwrap()),
        background,
    };
    // The threads of a log that was dropped may hold it, and so the lock, a moment longer.
    for _ in 0..1_000_000 {
        match Log::open(Arc::new(RealDisk), dir.join("g"), identity.clone(), options.clone()) {
            Err(OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap().0,
        }
    }
    panic!("the log is still open");
}

fn stores(mut log: Log) -> (LogStore<TokioRuntime>, StateMachine<TokioRuntime>) {
    let installed = Arc::new(Mutex::new(None));
    let machine = StateMachine::new(&mut log, installed.clone()).unwrap();
    (LogStore::new(log, Arc::new(|| 0), installed), machine)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_passes_openrafts_suite() {
    Suite::<Config, _, _, _, _>::test_all(Builder).await.unwrap();
}

/// openraft's stream of requests may still be read while it purges: what does not continue it must not be in it, and
/// an error would be the end of Raft.
#[tokio::test]
async fn a_replication_read_below_a_purge_finds_nothing_and_no_gap() {
    let (_dir, mut store, _machine) = Builder.build().await.unwrap();
    let blank = |number| Entry::new_blank(log_id(1, number));
    store.append((0..9).map(blank), IOFlushed::noop()).await.unwrap();
    let mut reader = store.get_log_reader().await;
    assert_eq!(reader.limited_get_log_entries(2, 9).await.unwrap().len(), 7);
    store.purge(log_id(1, 4)).await.unwrap();
    assert!(reader.limited_get_log_entries(2, 9).await.unwrap().is_empty());
    assert!(reader.limited_get_log_entries(4, 9).await.unwrap().is_empty());
    assert_eq!(reader.limited_get_log_entries(5, 9).await.unwrap().len(), 4);
}

/// The node dies when the snapshot is kept and the log does not begin behind it yet, and what the log has there is of a
/// later term than the snapshot's last entry.
#[tokio::test]
async fn a_snapshot_that_was_being_installed_is_installed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut machine) = stores(open(dir.path()));
    let entries = [log_id(1, 0), log_id(1, 1), log_id(7, 2)].map(Entry::new_blank);
    store.append(entries, IOFlushed::noop()).await.unwrap();
    let next = Cursor { position: 4000, number: 6, index: 0, term: 6, timestamp: 0, chain: 9 };
    let meta = SnapshotMeta { last_log_id: Some(log_id(6, 5)), last_membership: StoredMembership::default() };
    machine.install_snapshot(&meta, Some(next)).await.unwrap();
    drop((store, machine));

    drop(stores(open(dir.path())));
    let log = open(dir.path());
    assert_eq!((log.end(), log.purged().map(|purged| purged.number)), (next, Some(5)));
    drop(stores(log));
    assert_eq!(open(dir.path()).end(), next, "once is enough");
}

#[tokio::test]
async fn a_snapshot_that_was_built_here_leaves_the_log_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut machine) = stores(open(dir.path()));
    let entries = (0..5).map(|number| Entry::new_blank(log_id(1, number)));
    store.append(entries, IOFlushed::noop()).await.unwrap();
    let applied = (0..3).map(|number| Ok((Entry::new_blank(log_id(1, number)), None)));
    machine.apply(stream::iter(applied)).await.unwrap();
    RaftSnapshotBuilder::<Config>::build_snapshot(&mut machine.get_snapshot_builder().await).await.unwrap();
    drop((store, machine));
    drop(stores(open(dir.path())));
    let log = open(dir.path());
    assert_eq!((log.end().number, log.purged()), (5, None));
}

/// The tail of a leader that is gone reaches into the second segment; there is no room for another one. What the next
/// leader has in its place may only come if it fits into the first.
#[tokio::test]
async fn a_gate_tells_what_is_there_from_what_is_there_instead() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // So that no spare is left when a segment has taken it.
    let [mut own, mut leaders] = [0, 1].map(|n: usize| open_with(dirs[n].path(), Arc::new(AtOnce)));
    let large = "x".repeat(20 << 10);
    // What both have; then four large entries, with which each rolls at another place.
    for (log, length) in [(&mut own, 100), (&mut leaders, 200)] {
        log.append_draft(Draft::batch(&["first"]), 1, 0).unwrap();
        log.append_draft(Draft::batch(&["y".repeat(length)]), 1, 0).unwrap();
        for _ in 0..4 {
            log.append_draft(Draft::batch(&[&large]), 1, 0).unwrap();
        }
    }
    let segment = own.identity().segment_size;
    assert!(own.end().position > segment + (20 << 10) && leaders.end().position > segment);
    own.refuse_above(&Retention { refuse: 0.0, ..Retention::default() });
    let gate = DiskAdmission::new(&own, Arc::new(|| 0));
    let accepts = |log: &Log, numbers: std::ops::Range<u64>| {
        let frames = log.reader().frames(numbers, usize::MAX).unwrap();
        gate.accept::<TokioRuntime>(&AppendEntriesRequest {
            vote: RaftVote::new(2, "n1".parse().unwrap()),
            prev_log_id: None,
            entries: frames.into_iter().map(|frame| Entry::stored(frame).unwrap()).collect(),
            leader_commit: None,
        })
    };
    assert_eq!(accepts(&own, 0..6), Ok(()), "all of it is there");
    assert_eq!(accepts(&leaders, 0..3), Ok(()), "it fits where the tail begins");
    accepts(&leaders, 0..6).unwrap_err();
    accepts(&leaders, 4..6).unwrap_err();
}
