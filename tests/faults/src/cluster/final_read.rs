//! What every replica holds in the end.

use std::time::Duration;

use dledger::history::{ChainAt, Hash, Item, Recorder, Replica, What};
use dledger::{NodeStatus, ReadLimit, Record};
use futures::StreamExt;
use tokio::time::timeout;

use super::Cluster;

/// Records in one line of the history.
const IN_A_LINE: usize = 512;
/// Longest that the next record of a replica is waited for.
const NEXT: Duration = Duration::from_secs(20);

impl Cluster {
    /// Waits until these nodes have committed the same, all that any of them has.
    ///
    /// # Errors
    /// Not in time; what they say.
    pub async fn agree(&self, replicas: &[usize], within: Duration) -> Result<(), String> {
        let agreed = |said: &[Option<NodeStatus>]| {
            let said: Option<Vec<&NodeStatus>> = replicas.iter().map(|n| said[*n].as_ref()).collect();
            let said = said?;
            let (first, masters) = (said.first()?, said.iter().filter(|one| one.role == "master").count());
            let same = |one: &&&NodeStatus| {
                (one.committed, one.committed_position, one.committed_chain, one.end, one.term)
                    == (first.committed, first.committed_position, first.committed_chain, first.committed, first.term)
            };
            (masters == 1 && said.iter().filter(same).count() == said.len()).then_some(())
        };
        self.until("all replicas hold the same", within, agreed).await
    }

    /// Writes down all that these replicas hold.
    ///
    /// # Errors
    /// A replica cannot be read: a damaged one is a violation.
    pub async fn read_replicas(&self, replicas: &[usize], recorder: &Recorder) -> Result<(), String> {
        let client = self.client(NEXT);
        for n in replicas {
            let name = self.nodes[*n].name().to_owned();
            let told = |error: &dyn std::fmt::Display| format!("the replica of {name} cannot be read: {error}");
            let status = self.status(&client, *n).await.ok_or_else(|| told(&"it does not answer"))?;
            let (first, end) = (status.first, status.committed);
            let chain = ChainAt { position: status.committed_position, value: status.committed_chain };
            let replica =
                |records| What::Replica(Replica { node: name.clone(), first, end, chain: Some(chain), records });
            let node = client.node(&status.node.parse().map_err(|error| told(&error))?).map_err(|e| told(&e))?;
            let limit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
            let records = node.read_stream(first, limit).await.map_err(|error| told(&error))?;
            let mut chunks = records.take((end - first) as usize).chunks(IN_A_LINE);
            let mut read = first;
            loop {
                let chunk = timeout(NEXT, chunks.next()).await.map_err(|_| told(&"it stopped sending"))?;
                let Some(chunk) = chunk else { break };
                let items: Result<Vec<Item>, _> = chunk.into_iter().map(|record| record.map(|r| item(&r))).collect();
                let items = items.map_err(|error| told(&error))?;
                read += items.len() as u64;
                recorder.record(replica(items));
            }
            if read != end {
                return Err(told(&format!("it has committed up to {end}, and gave records up to {read} only")));
            }
            if first == end {
                recorder.record(replica(Vec::new()));
            }
        }
        Ok(())
    }
}

/// A record as a history writes it.
pub(crate) fn item(record: &Record) -> Item {
    Item { index: record.index, position: record.position, term: record.term, hash: Hash::of(&record.body) }
}
