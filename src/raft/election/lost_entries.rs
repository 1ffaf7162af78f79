//! What this node has acknowledged, and does not have any more.
//!
//! A node whose disk was set back does not know that. The leader to which it acknowledged does, and reminds it with
//! whatever it says first, and with every heartbeat. From then on, until it has again what it acknowledged, it votes as
//! if it had it: for nobody whose log is behind that, and not for itself. So it helps nobody to lead who lacks what was
//! committed with its help. Before it votes for anybody it gives a leader the time to say so (see
//! [`holdoff`](super::holdoff)).

use tokio::sync::watch;

use crate::log::reader::LogReader;
use crate::raft::log_id::{LogId, last_log_id};

/// The last entry that this node has acknowledged, as far as a leader has told it in this life. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LostEntries(watch::Sender<Option<LogId>>);

impl LostEntries {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// A leader says that this node has acknowledged entry `id` to it.
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
                "this node does not have what it has acknowledged: its disk was set \
                back, or its log was cut. Until its master has sent it again it votes for nobody who lacks it");
        }
    }

    /// The entry that this node acknowledged, if its log does not reach it.
    pub(crate) fn lacking(&self, log: &LogReader) -> Option<LogId> {
        let owed = *self.0.borrow();
        let lacking = lacked(owed, log);
        if owed.is_some() && lacking.is_none() {
            self.0.send_if_modified(|known| *known == owed && known.take().is_some());
        }
        lacking
    }

    /// Told when there is something that this node lacks, and when it has it.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<LogId>> {
        self.0.subscribe()
    }
}

fn lacked(owed: Option<LogId>, log: &LogReader) -> Option<LogId> {
    owed.filter(|owed| last_log_id(log) < Some(*owed))
}
