//! openraft's own conformance suite, on real files with real syncs.

use std::sync::{Arc, Mutex};

use openraft::impls::TokioRuntime;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::TypeConfig;
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
