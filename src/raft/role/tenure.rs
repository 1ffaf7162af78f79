//! Since when this node has been the master.

use tokio::sync::watch;

use crate::log::reader::LogReader;

/// One time of being the master, as this node sees it: from when its role became that to when it was something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// Its term. A master that has lost sight of its quorum and finds it again has two tenures in one term.
    pub(crate) term: u64,
    /// Index of the first record of the term: all before it are of earlier terms.
    pub(crate) first_index: u64,
    /// Counts the tenures since this node started.
    number: u64,
}

/// Publishes the tenures of this node.
pub(crate) struct Tenures {
    now: watch::Sender<Option<Tenure>>,
    last: Option<Tenure>,
}

impl Tenures {
    pub(crate) fn new() -> (Self, watch::Receiver<Option<Tenure>>) {
        let (now, told) = watch::channel(None);
        (Self { now, last: None }, told)
    }

    /// Begins a tenure: this node has become the master of `term`, and has committed an entry of it.
    pub(crate) fn begin(&mut self, term: u64, log: &LogReader) {
        if self.now.borrow().is_some_and(|now| now.term == term) {
            return;
        }
        let known = self.last.filter(|last| last.term == term).map(|last| last.first_index);
        let number = self.last.map_or(0, |last| last.number) + 1;
        // A short search: a new term has hardly more than its first entry, because appends wait for a master.
        let first_index = known.unwrap_or_else(|| first_index(term, log));
        self.last = Some(Tenure { term, first_index, number });
        self.now.send_replace(self.last);
    }

    /// Ends the tenure, if there is one.
    pub(crate) fn end(&self) {
        self.now.send_if_modified(|now| now.take().is_some());
    }
}

/// Index of the first record of `term`, the last one of which there is a committed entry.
fn first_index(term: u64, log: &LogReader) -> u64 {
    let committed = log.progress().commit_point();
    let headers = (0..committed.number).rev().map(|number| log.entry_header(number));
    // A removed or damaged entry ends the search with a later index, which says less and nothing wrong.
    let of_term = headers.map_while(|header| header.ok().flatten().filter(|header| header.term == term));
    of_term.last().map_or(committed.index, |first| first.index)
}
