//! What every replica holds in the end.

use std::time::Duration;

use dledger::{ClientError, NodeClient, ReadLimit, Record, Status};
use dledger_history::{ChainAt, Hash, Item, Recorder, Replica, What};
use futures::StreamExt;
use tokio::time::interval;

use super::Cluster;

/// Records in one line of the history.
const IN_A_LINE: usize = 512;
/// The longest wait for the next records of a replica.
const NEXT: Duration = Duration::from_secs(20);
/// How long a node is given to repair what was found to be damaged.
const REPAIR: Duration = Duration::from_secs(1);
/// Reads of a replica that may come upon damage: one for each damaged record, and some to wait.
const MOST_DAMAGED: usize = 200;

impl Cluster {
    /// Waits until these nodes have committed the same, all that any of them has.
    ///
    /// # Errors
    /// Not in time; what they say.
    pub async fn agree(&self, replicas: &[usize], within: Duration) -> Result<(), String> {
        let agreed = |said: &[Option<Status>]| {
            let said: Option<Vec<&Status>> = replicas.iter().map(|n| said[*n].as_ref()).collect();
            let said = said?;
            let (first, masters) = (said.first()?, said.iter().filter(|one| one.role.is_master()).count());
            let same = |one: &&&Status| {
                (one.committed, one.committed_position, one.committed_chain, one.end, one.term)
                    == (first.committed, first.committed_position, first.committed_chain, first.committed, first.term)
            };
            (masters == 1 && said.iter().filter(same).count() == said.len()).then_some(())
        };
        self.until("all replicas hold the same", within, agreed).await
    }

    /// Writes down all that these replicas hold. Damage that nobody has noticed so far is noticed now: a node that
    /// repairs has its time to do so.
    ///
    /// # Errors
    /// A replica cannot be read: a damaged one is a violation.
    pub async fn read_replicas(&self, replicas: &[usize], recorder: &Recorder) -> Result<(), String> {
        let client = self.client(NEXT);
        for n in replicas {
            let name = self.nodes[*n].name();
            let told = |error: &dyn std::fmt::Display| format!("the replica of {name} cannot be read: {error}");
            let status = self.status(&client, *n).await.ok_or_else(|| told(&"it does not answer"))?;
            let node = client.node(&status.node).map_err(|e| told(&e))?;
            let (mut next, mut damaged, mut pause) = (status.first, 0, interval(REPAIR));
            recorder.record(replica(name, &status, Vec::new()));
            while next < status.committed {
                let before = next;
                match self.read_on(&node, &status, &mut next, recorder).await {
                    Ok(()) if next > before => {}
                    Ok(()) => {
                        return Err(told(&format!("it has committed up to {}, and gives no {next}", status.committed)));
                    }
                    Err(ClientError::Damaged { .. }) if damaged < MOST_DAMAGED => {
                        damaged += 1;
                        pause.reset();
                        pause.tick().await;
                    }
                    Err(error) => return Err(told(&error)),
                }
            }
        }
        Ok(())
    }

    async fn read_on(
        &self,
        node: &NodeClient,
        status: &Status,
        next: &mut u64,
        recorder: &Recorder,
    ) -> Result<(), ClientError> {
        let limit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
        let records = node.read_stream(*next.., limit).await?;
        let mut chunks = records.take((status.committed - *next) as usize).ready_chunks(IN_A_LINE);
        while let Some(chunk) = chunks.next().await {
            let (good, bad): (Vec<_>, Vec<_>) = chunk.into_iter().partition(Result::is_ok);
            let items: Vec<Item> = good.into_iter().flatten().map(|record| item(&record)).collect();
            *next += items.len() as u64;
            if !items.is_empty() {
                recorder.record(replica(status.node.as_str(), status, items));
            }
            if let Some(Err(error)) = bad.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn replica(node: &str, status: &Status, records: Vec<Item>) -> What {
    let chain = Some(ChainAt { position: status.committed_position, value: status.committed_chain });
    What::Replica(Replica { node: node.to_owned(), first: status.first, end: status.committed, chain, records })
}

/// A record as a history writes it.
pub(crate) fn item(record: &Record) -> Item {
    Item { index: record.index, position: record.position, term: record.term, hash: Hash::of(&record.body) }
}
