//! A disk that hangs is reported, and that it gets on again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;

use crate::config::{Config, MIN_SEGMENT_SIZE};
use crate::disk::hooked::HookedDisk;
use crate::node::NodeBuilder;
use crate::node::environment::Environment;
use crate::types::{NodeId, Role};

/// While it is shut, no sync of a segment ends.
#[derive(Clone, Default)]
struct SyncGate(Arc<(Mutex<bool>, Condvar)>);

impl SyncGate {
    fn shut(&self) -> Shut<'_> {
        *self.0.0.lock() = true;
        Shut(self)
    }

    fn disk(&self) -> HookedDisk {
        let gate = self.clone();
        HookedDisk::before_sync(move |path, _| {
            if path.file_name().is_some_and(|name| name.len() == 20) {
                gate.0.1.wait_while(&mut gate.0.0.lock(), |shut| *shut);
            }
            Ok(())
        })
    }
}

/// Opens the gate when it is dropped, also by a test that fails: a thread that hangs would never be joined.
struct Shut<'a>(&'a SyncGate);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        *self.0.0.0.lock() = false;
        self.0.0.1.notify_all();
    }
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let waited = async {
        while !is() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("never {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_hangs_says_so_and_that_it_gets_on_again() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), SyncGate::default());
    let mut config = Config::new(NodeId::new(0), "127.0.0.1:0");
    (config.data_dir, config.single, config.segment_size) = (dir.path().to_owned(), true, MIN_SEGMENT_SIZE);
    (config.max_record_bytes, config.max_batch_bytes) = (24 << 10, MIN_SEGMENT_SIZE as usize / 2);
    (config.groups, config.disk_stall_timeout) = (vec!["g".parse().unwrap()], Duration::from_millis(300));
    let env = Environment { disk: Arc::new(gate.disk()), ..Environment::machine(&config).unwrap() };
    let listener = TcpListener::bind(&config.bind).await.unwrap();
    let node = NodeBuilder::from_config(config).start_on(listener, env).await.unwrap();
    let ledger = node.ledger("g").unwrap();
    ledger.role().wait_for(Role::is_master).await.unwrap();
    ledger.append("before").await.unwrap();
    assert_eq!(ledger.status().alarm, None);

    let shut = gate.shut();
    let waiting = ledger.submit(vec!["it hangs".into()], None).await.unwrap();
    let alarm = || ledger.status().alarm.unwrap_or_default();
    until("an alarm", || alarm().starts_with("the disk hangs: a sync has not ended for ")).await;
    until("told", || node.outages().hangs() > 0).await;
    drop(shut);
    waiting.await.unwrap();
    until("well", || ledger.status().alarm.is_none()).await;
    let hung = node.outages().hangs();
    until("told", || node.outages().gets_on()).await;
    assert!(hung >= 1, "{hung}");
    node.shutdown().await;
}
