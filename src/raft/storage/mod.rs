//! The log and the commit cursor as openraft's storage and state machine.
//!
//! | file | what it is |
//! |---|---|
//! | [`log_store`] | the log as openraft's log storage |
//! | [`entry_reader`] | the log as openraft reads it |
//! | [`snapshot`] | snapshots, which carry no records: where the log begins, and the membership there |
//! | [`state_machine`] | the commit cursor as openraft's state machine |
//! | [`timestamps`] | the time that a leader stamps entries with |
//! | [`retention_problems`] | what keeps retention from going by the age of records |
//! | [`purge`] | removing entries: a snapshot at the purge point, then the purge |

mod entry_reader;
pub(crate) mod log_store;
pub(crate) mod purge;
pub(crate) mod retention_problems;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
pub(crate) mod timestamps;
