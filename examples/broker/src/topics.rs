//! Which records belong to which topic: the broker's only state, and none that has to be kept. It follows from the
//! ledger alone, so it is the same on every broker, and a restart learns it again from `tail(0)`.

use std::collections::HashMap;

use dledger::{ReadError, Record, Tail};
use futures::StreamExt;
use tokio::sync::watch;

use crate::record::Message;

/// The record indexes of each topic; a message's offset is the place of its index in the list.
#[derive(Default)]
pub struct Topics {
    indexes: HashMap<String, Vec<u64>>,
    /// Index after the last record seen.
    next: u64,
}

impl Topics {
    /// Whether the record `index` has been seen.
    pub fn has_seen(&self, index: u64) -> bool {
        index < self.next
    }

    /// The record that holds the message at `offset` of `topic`, once there is one.
    pub fn index_at(&self, topic: &str, offset: u64) -> Option<u64> {
        self.indexes.get(topic)?.get(usize::try_from(offset).ok()?).copied()
    }

    /// The offset of the message that the record `index` holds.
    pub fn offset_of(&self, topic: &str, index: u64) -> Option<u64> {
        self.indexes.get(topic)?.binary_search(&index).ok().map(|offset| offset as u64)
    }

    fn add(&mut self, record: &Record) {
        self.next = record.index + 1;
        // What is no message has no topic.
        if let Some(message) = Message::decode(&record.body) {
            self.indexes.entry(message.topic).or_default().push(record.index);
        }
    }
}

/// Keeps `topics` up with the committed records, on the master and on slaves alike. Ends only with the ledger.
pub async fn follow(tail: Tail, topics: &watch::Sender<Topics>) -> Result<(), ReadError> {
    // Waiting consumers wake once per chunk, not once per record.
    let mut chunks = tail.ready_chunks(1024);
    while let Some(chunk) = chunks.next().await {
        let records = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        topics.send_modify(|topics| records.iter().for_each(|record| topics.add(record)));
    }
    Ok(())
}
