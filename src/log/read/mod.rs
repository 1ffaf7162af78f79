//! Reading entries and records, from any thread.
//!
//! | file | what it is |
//! |---|---|
//! | [`progress`] | first, committed, durable, end |
//! | [`reader`] | [`LogReader`](reader::LogReader) |
//! | [`seek`] | finds records by time and by position |
//! | [`uncommitted`] | the entries that are not committed yet, in memory |

pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod seek;
pub(crate) mod uncommitted;
