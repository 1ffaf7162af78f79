//! The right to append in one term only.

use std::time::Duration;

use bytes::Bytes;

use super::ledger::{Appender, Ledger};
use super::pending::Pending;
use crate::error::AppendError;
use crate::raft::role::tenure::Tenure;
use crate::types::{Ack, Role};

/// The right to append in one term. What a broker decided as master of that term goes into the log while it is master
/// of that term, or not at all, even if it lost the mastership and has won it back.
///
/// Two leaderships are equal if they are of the same node and the same tenure.
#[derive(Debug, Clone)]
pub struct Leadership {
    ledger: Ledger,
    tenure: Tenure,
}

impl PartialEq for Leadership {
    fn eq(&self, other: &Self) -> bool {
        self.tenure == other.tenure && self.ledger.is_same(&other.ledger)
    }
}

impl Eq for Leadership {}

impl Leadership {
    pub(super) fn new(ledger: Ledger, tenure: Tenure) -> Self {
        Self { ledger, tenure }
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.tenure.term
    }

    /// Index of the first record of the term, once there is one: all records before it are of other masters, or of
    /// this node in another term, and all of them are committed and can be read here.
    pub fn first_index(&self) -> u64 {
        self.tenure.first_index
    }

    /// Whether this node has ceased to be the master of the term, as far as it knows. A leadership that is over stays
    /// over.
    pub fn is_over(&self) -> bool {
        *self.ledger.replica().tenure.borrow() != Some(self.tenure)
    }

    /// As [`Ledger::append`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, AppendError> {
        self.appender().append(record.into()).await
    }

    /// As [`Ledger::append_batch`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, AppendError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        self.appender().append_batch(records).await
    }

    /// As [`Ledger::submit`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        self.appender().submit(records, timeout).await
    }

    /// As [`Ledger::try_submit`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`], at once or from the returned future.
    pub fn try_submit(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        if self.is_over() {
            return Err(AppendError::TermOver { term: self.term() });
        }
        self.appender().try_submit(records)
    }

    /// Resolves once the leadership [is over](Leadership::is_over).
    pub async fn over(&self) {
        let mut tenure = self.ledger.replica().tenure.clone();
        // An error: the role task is gone, and the ledger with it.
        let _ = tenure.wait_for(|tenure| *tenure != Some(self.tenure)).await;
    }

    fn appender(&self) -> Appender<'_> {
        self.ledger.appender(Some(self.term()))
    }
}

impl Ledger {
    /// The right to append in the term that this node is master of now, and in no other: a fencing token.
    ///
    /// # Errors
    /// If this node is not the master.
    pub fn leadership(&self) -> Result<Leadership, AppendError> {
        if let Some(tenure) = *self.replica().tenure.borrow() {
            return Ok(Leadership::new(self.clone(), tenure));
        }
        // A copy: `closed` locks the role again, and a writer may wait in between.
        let role = self.replica().role.borrow().clone();
        match role {
            Role::Slave { master, .. } => Err(AppendError::NotMaster { master: Some(master) }),
            // As `Master`: it has ceased to lead this moment.
            Role::Master { .. } | Role::Electing { .. } | Role::Removed { .. } => {
                Err(AppendError::NotMaster { master: None })
            }
            Role::Stopped | Role::Closed { .. } => Err(self.closed()),
        }
    }
}
