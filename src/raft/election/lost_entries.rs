//! Entries that this node has acknowledged and does not have any more.
//!
//! A node whose disk was set back does not know that. The leader to which it acknowledged the entries does, and reminds
//! it with the first message and with every heartbeat. From then on, until it has those entries again, the node votes
//! as if it had them: for no candidate whose log ends before them, and not for itself. So it helps no node to lead that
//! lacks what was committed with its help. Before it votes at all, it gives a leader the time to remind it (see
//! [`holdoff`](super::holdoff)).

use tokio::sync::watch;

use crate::log::reader::LogReader;
use crate::raft::log_id::{LogId, last_log_id};

/// The last entry that this node has acknowledged, as far as a leader has told it since it started. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LostEntries(watch::Sender<Option<LogId>>);

impl LostEntries {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Notes that a leader says that this node has acknowledged entry `id` to it.
    pub(crate) fn note(&self, id: LogId, log: &LogReader) {
        let is_news = |known: &mut Option<LogId>| {
            let news = *known < Some(id);
            if news {
                *known = Some(id);
            }
            news
        };
        if lacked(Some(id), log).is_some() && self.0.send_if_modified(is_news) {
            tracing::error!(group = %log.group(), acknowledged = %id,
                "this node lacks entries that it has acknowledged: its disk was set back, or its log was cut. \
                Until its master has sent them again, this node votes for no candidate that lacks them");
        }
    }

    /// The entry that this node acknowledged, if its log does not reach it.
    pub(crate) fn lacking(&self, log: &LogReader) -> Option<LogId> {
        let acknowledged = *self.0.borrow();
        let lacking = lacked(acknowledged, log);
        if acknowledged.is_some() && lacking.is_none() {
            self.0.send_if_modified(|known| *known == acknowledged && known.take().is_some());
        }
        lacking
    }

    /// Changes when this node is told that it lacks entries, and when it has them again.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<LogId>> {
        self.0.subscribe()
    }
}

fn lacked(acknowledged: Option<LogId>, log: &LogReader) -> Option<LogId> {
    acknowledged.filter(|acknowledged| last_log_id(log) < Some(*acknowledged))
}
