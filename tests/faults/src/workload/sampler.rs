//! What the nodes say of themselves, and whose process is gone.

use std::sync::Arc;

use dledger::Status;
use dledger_history::{ChainAt, NodeStatusEvent, What};
use parking_lot::Mutex;

use super::appends::Ways;
use crate::cluster::Cluster;

/// What must not be, as it was found out.
pub(super) type Findings = Arc<Mutex<Vec<String>>>;

/// Asks every node again and again, until it is told to stop.
pub(super) async fn sampler(ways: Ways, cluster: Arc<Cluster>, findings: Findings) {
    let mut pace = ways.pace();
    loop {
        // The last look comes after the last word.
        let last = ways.stopped();
        for death in cluster.deaths().await {
            ways.progress.recorder().record(What::Note { text: death.clone() });
            findings.lock().push(death);
        }
        if last {
            return;
        }
        pace.tick().await;
        let lives: Vec<u64> = cluster.nodes.iter().map(|node| node.life()).collect();
        let said = cluster.statuses(&ways.client).await;
        for ((node, life), status) in cluster.nodes.iter().zip(lives).zip(said) {
            // Of two lives, nobody can tell which one answered.
            if let Some(status) = status
                && node.life() == life
            {
                ways.progress.status(event(node.name(), life, &status));
            }
        }
    }
}

fn event(node: &str, start: u64, status: &Status) -> NodeStatusEvent {
    NodeStatusEvent {
        node: node.to_owned(),
        start,
        role: status.role.name().to_owned(),
        term: status.term,
        first: status.first,
        durable: status.durable,
        committed: status.committed,
        end: status.end,
        chain: Some(ChainAt { position: status.committed_position, value: status.committed_chain }),
    }
}
