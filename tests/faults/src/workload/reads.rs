//! Gets and reads of all consistencies at all nodes.

use std::sync::Arc;

use dledger::{Client, ClientError, Consistency, NodeId, ReadLimit, Record};
use dledger_history::{Answer, Call};
use futures::TryStreamExt;

use super::appends::Ways;
use crate::cluster::item;
use crate::rng::Rng;

/// Most records of one read.
const MOST: u64 = 64;
/// So far behind the end most reads begin.
const RECENT: u64 = 48;

/// So far beyond what is acknowledged there may be records that are not committed.
const AHEAD: u64 = 48;

/// Reads here and there, until it is told to stop.
pub(super) async fn reader(ways: Ways, mut rng: Rng, nodes: Arc<Vec<NodeId>>) {
    let mut pace = ways.pace();
    while !ways.stopped() {
        pace.tick().await;
        let end = ways.progress.figures().end;
        // Some ask for what is not there yet.
        let index = match rng.below(6) {
            0 => rng.within(0..end + 1),
            1 => end + rng.within(0..3),
            _ => rng.within(end.saturating_sub(RECENT)..end + 1),
        };
        let consistency = *rng.pick(&Consistency::ALL);
        let node = (!rng.once_in(3)).then(|| rng.pick(&nodes).clone());
        let name = node.as_ref().map(ToString::to_string);
        let recorder = ways.progress.recorder();
        let client = ways.client.clone();
        if rng.once_in(3) {
            let count = 1 + rng.within(0..MOST);
            let op = recorder.invoke(ways.number, Call::Read { from: index, count, consistency, node: name });
            let limit = ReadLimit { records: count as usize, bytes: usize::MAX };
            let found = read_of(client, index, limit, consistency, node).await;
            finish(&ways, op, index, found);
        } else {
            get(&ways, index, consistency, node).await;
        }
    }
}

/// Asks one node for what is about the end, always in the same way: who serves what is not committed, or does not know
/// that another one leads, shows it there. One that waits for a node in vain holds up no other.
pub(super) async fn prober(ways: Ways, mut rng: Rng, node: NodeId, consistency: Consistency) {
    let mut pace = ways.pace();
    while !ways.stopped() {
        pace.tick().await;
        let end = ways.progress.figures().end;
        let ahead = if consistency == Consistency::Local { AHEAD } else { 2 };
        let index = rng.within(end.saturating_sub(2)..end + ahead);
        get(&ways, index, consistency, Some(node.clone())).await;
    }
}

async fn get(ways: &Ways, index: u64, consistency: Consistency, node: Option<NodeId>) {
    let name = node.as_ref().map(ToString::to_string);
    let op = ways.progress.recorder().invoke(ways.number, Call::Get { index, consistency, node: name });
    let found = get_of(ways.client.clone(), index, consistency, node).await;
    finish(ways, op, index, found.map(|record| vec![record]));
}

async fn get_of(
    client: Client,
    index: u64,
    consistency: Consistency,
    node: Option<NodeId>,
) -> Result<Record, ClientError> {
    match node {
        None => client.get_with(index, consistency).await,
        Some(node) => client.node(&node)?.get_with(index, consistency).await,
    }
}

async fn read_of(
    client: Client,
    from: u64,
    limit: ReadLimit,
    consistency: Consistency,
    node: Option<NodeId>,
) -> Result<Vec<Record>, ClientError> {
    match node {
        None => client.read_with(from.., limit, consistency).await,
        Some(node) => client.node(&node)?.read_stream_with(from.., limit, consistency).await?.try_collect().await,
    }
}

fn finish(ways: &Ways, op: u64, index: u64, found: Result<Vec<Record>, ClientError>) {
    match found {
        Ok(records) if records.is_empty() => ways.progress.read(op, Answer::Absent { index }),
        Ok(records) => ways.progress.read(op, Answer::Found { records: records.iter().map(item).collect() }),
        Err(ClientError::NotYet { .. }) => ways.progress.read(op, Answer::Absent { index }),
        Err(ClientError::Removed { first, .. }) => ways.progress.read(op, Answer::Removed { first }),
        Err(error) => ways.progress.not_read(op, error),
    }
}
