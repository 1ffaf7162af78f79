//! openraft's own conformance suite, on real files with real syncs.

use std::sync::{Arc, Mutex};

use openraft::entry::RaftEntry;
use openraft::impls::TokioRuntime;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::TypeConfig;
use super::config::log_id;
use super::entry::Entry;
use super::state_machine::StateMachine;
use super::storage::LogStore;
use crate::disk::real::RealDisk;
use crate::log::directory::Identity;
use crate::log::flusher::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions};
use crate::types::Incarnation;

type Config = TypeConfig<TokioRuntime>;
type Stores = (TempDir, LogStore<TokioRuntime>, StateMachine<TokioRuntime>);

struct Builder;

impl StoreBuilder<Config, LogStore<TokioRuntime>, StateMachine<TokioRuntime>, TempDir> for Builder {
    async fn build(&self) -> Result<Stores, openraft::StorageError<Config>> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: "c".parse().unwrap(),
            group: "g".parse().unwrap(),
            node: "n0".parse().unwrap(),
            segment_size: 64 << 10,
            incarnation: Incarnation::random(),
        };
        let options = LogOptions {
            segment_size: identity.segment_size,
            interval: None,
            scheduler: Arc::new(FlushThread::start().unwrap()),
            background: Arc::new(BackgroundThread::start().unwrap()),
        };
        let (log, _) = Log::open(Arc::new(RealDisk), dir.path().join("g"), identity, options).unwrap();
        let installed = Arc::new(Mutex::new(None));
        let machine = StateMachine::new(log.reader(), installed.clone()).unwrap();
        Ok((dir, LogStore::new(log, Arc::new(|| 0), installed), machine))
    }
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
