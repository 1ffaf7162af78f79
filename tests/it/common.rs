//! What scenarios have in common beside the test kit.

use std::path::Path;
use std::time::Duration;

use dledger::testkit::{Cluster, ClusterBuilder};
use dledger::{Durability, Ledger, ReadLimit};

pub const GROUP: &str = "g";
/// Longer than anything here takes on a busy machine; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn bodies(ledger: &Ledger) -> Vec<String> {
    let records = ledger.read(.., ReadLimit::bytes(usize::MAX)).await.unwrap();
    records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect()
}

/// Fails instead of hanging.
pub async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never happened")
}

/// A cluster of [`GROUP`] to be started. Acks of a leader's page cache are enough where a scenario is not about
/// durability.
pub fn kit(nodes: usize) -> ClusterBuilder {
    Cluster::builder(nodes).group(GROUP.parse().unwrap()).durability(Durability::Interval(Duration::from_millis(20)))
}

/// The ledger, as its master has it, once there is one.
pub async fn master_ledger(cluster: &Cluster) -> Ledger {
    cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap()
}

/// The bytes of a node's segments up to `position`.
pub fn segment_bytes(dir: &Path, position: u64) -> Vec<u8> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.len() == 20);
    names.sort();
    let mut bytes = Vec::new();
    for name in names {
        let start: u64 = name.parse().unwrap();
        if start < position {
            let mut segment = std::fs::read(dir.join(name)).unwrap();
            segment.truncate((position - start).min(segment.len() as u64) as usize);
            bytes.append(&mut segment);
        }
    }
    bytes
}
