//! A tail on each node.

use dledger::{ClientError, NodeId};
use dledger_history::{Answer, Call, What};
use futures::StreamExt;

use super::appends::Ways;
use crate::cluster::item;

/// Records in one line of the history.
const IN_A_LINE: usize = 256;

/// Follows one node, from where it was when it broke, until it is told to stop.
pub(super) async fn tail(mut ways: Ways, node: NodeId) {
    let mut next = 0;
    let mut pace = ways.pace();
    while !ways.stopped() {
        pace.tick().await;
        let call = Call::Tail { from: next, node: Some(node.to_string()) };
        let op = ways.progress.recorder().invoke(ways.number, call);
        match follow(&mut ways, &node, op, &mut next).await {
            Ok(()) => ways.progress.recorder().ok(op, Answer::Found { records: Vec::new() }),
            Err(ClientError::Removed { first, .. }) => {
                ways.progress.recorder().ok(op, Answer::Removed { first });
                next = first;
            }
            Err(error) => ways.progress.recorder().fail(op, error),
        }
    }
}

async fn follow(ways: &mut Ways, node: &NodeId, op: u64, next: &mut u64) -> Result<(), ClientError> {
    let mut stop = ways.stop.clone();
    let records = tokio::select! {
        records = async { ways.client.node(node)?.tail(*next).await } => records?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    let mut chunks = records.ready_chunks(IN_A_LINE);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let Some(chunk) = chunk else { return Ok(()) };
        let mut failed = None;
        let mut items = Vec::with_capacity(chunk.len());
        for record in chunk {
            match record {
                Ok(record) => items.push(item(&record)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(last) = items.last() {
            *next = last.index + 1;
            ways.progress.tailed(items.len() as u64);
            ways.progress.recorder().record(What::Seen { op, records: items });
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}
