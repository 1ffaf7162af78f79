//! What this node has acknowledged, and does not have any more.
//!
//! A node whose disk was set back does not know that. Its leader does, and reminds it with every heartbeat. Until it
//! has again what it acknowledged it votes as if it had it: for nobody whose log is behind that, and not for itself. So
//! it helps nobody to lead who lacks what was committed with its help.

use tokio::sync::watch;

use super::config::{LogId, log_id};
use crate::log::reader::LogReader;

/// The last entry that this node has acknowledged, as far as a leader has told it in this life. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Owed(watch::Sender<Option<LogId>>);

impl Owed {
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
        if self.lacked_by(Some(id), log).is_some() && self.0.send_if_modified(is_news) {
            tracing::error!(acknowledged = %id, "this node does not have what it has acknowledged: its disk was set \
                back, or its log was cut. Until its master has sent it again it votes for nobody who lacks it");
        }
    }

    /// The entry that this node acknowledged, if its log does not reach it.
    pub(crate) fn lacking(&self, log: &LogReader) -> Option<LogId> {
        let owed = *self.0.borrow();
        let lacking = self.lacked_by(owed, log);
        if owed.is_some() && lacking.is_none() {
            self.0.send_if_modified(|known| *known == owed && known.take().is_some());
        }
        lacking
    }

    fn lacked_by(&self, owed: Option<LogId>, log: &LogReader) -> Option<LogId> {
        // What cannot be read is not known to be there.
        owed.filter(|_| last(log).is_none_or(|last| last < owed))
    }

    /// Told when there is something that this node lacks, and when it has it.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<LogId>> {
        self.0.subscribe()
    }
}

/// The last entry of a log; `Some(None)` of an empty one, `None` if it cannot be read.
pub(crate) fn last(log: &LogReader) -> Option<Option<LogId>> {
    let numbers = log.numbers();
    if numbers.is_empty() {
        return Some(log.purged().map(|purged| log_id(purged.term, purged.number)));
    }
    let header = log.entry_header(numbers.end - 1).ok()??;
    Some(Some(log_id(header.term, header.number)))
}
