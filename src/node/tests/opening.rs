//! A ledger is opened beside the runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;

use crate::config::{Config, Durability, MIN_SEGMENT_SIZE};
use crate::disk::hooked::HookedDisk;
use crate::node::environment::Environment;
use crate::node::{Ledger, Node, NodeBuilder};
use crate::types::{NodeId, Role};

const SEGMENTS: u64 = 500;

/// Counts the ticks of a timer of the runtime.
#[derive(Default)]
struct Ticks {
    count: Mutex<usize>,
    ticked: Condvar,
    /// It was waited for in vain.
    missed: AtomicBool,
}

impl Ticks {
    fn count(&self) -> usize {
        *self.count.lock()
    }

    async fn tick(self: Arc<Self>) {
        let mut timer = tokio::time::interval(Duration::from_millis(1));
        loop {
            timer.tick().await;
            *self.count.lock() += 1;
            self.ticked.notify_all();
        }
    }

    /// Blocks the thread until the timer ticks.
    ///
    /// # Errors
    /// It does not.
    fn wait_for_the_next(&self) -> io::Result<()> {
        let mut count = self.count.lock();
        let before = *count;
        let patience = Duration::from_secs(20);
        let waited = self.ticked.wait_while_for(&mut count, |count: &mut usize| *count == before, patience);
        if waited.timed_out() {
            self.missed.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the runtime stands still"));
        }
        Ok(())
    }
}

async fn start(dir: &std::path::Path, disk: HookedDisk) -> (Node, Ledger) {
    let mut config = Config::new(NodeId::new(0), "127.0.0.1:0");
    (config.data_dir, config.single, config.segment_size) = (dir.to_owned(), true, MIN_SEGMENT_SIZE);
    (config.max_record_bytes, config.max_batch_bytes) = (24 << 10, MIN_SEGMENT_SIZE as usize / 2);
    config.groups = vec!["g".parse().unwrap()];
    config.durability = Durability::Interval(Duration::from_secs(1));
    let env = Environment { disk: Arc::new(disk), ..Environment::machine(&config).unwrap() };
    let listener = TcpListener::bind(&config.bind).await.unwrap();
    let node = NodeBuilder::from_config(config).start_on(listener, env).await.unwrap();
    let ledger = node.ledger("g").unwrap();
    ledger.role().wait_for(Role::is_master).await.unwrap();
    (node, ledger)
}

#[tokio::test]
async fn a_runtime_of_one_thread_goes_on_while_a_ledger_of_many_segments_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (node, ledger) = start(dir.path(), HookedDisk::without_syncs()).await;
    // Two to a segment.
    let mut last = None;
    for _ in 0..2 * SEGMENTS {
        last = Some(ledger.submit(vec![vec![7; 23 << 10].into()], None).await.unwrap());
    }
    assert_eq!(last.unwrap().await.unwrap().first_index, 2 * SEGMENTS - 1);
    node.shutdown().await;

    let ticks = Arc::<Ticks>::default();
    let ticking = tokio::spawn(ticks.clone().tick());
    let opened = Arc::new(AtomicUsize::new(0));
    let (seen, waits_for) = (opened.clone(), ticks.clone());
    let disk = HookedDisk::on_open(move |file| {
        let is_segment = file.file_name().is_some_and(|name| name.len() == 20);
        match is_segment && seen.fetch_add(1, Ordering::Relaxed) % 10 == 0 {
            // A runtime that waits for this file cannot tick.
            true => waits_for.wait_for_the_next(),
            false => Ok(()),
        }
    });
    let (node, ledger) = start(dir.path(), disk).await;
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened >= SEGMENTS as usize, "only {opened} segments were opened");
    assert!(ticks.count() >= opened / 10, "{} ticks while {opened} segments were opened", ticks.count());
    assert_eq!(ledger.status().committed, 2 * SEGMENTS);
    node.shutdown().await;
    assert!(!ticks.missed.load(Ordering::Relaxed), "the runtime stood still");
    ticking.abort();
}
