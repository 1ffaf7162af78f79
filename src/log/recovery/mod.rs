//! What a start finds in a directory, and what it does about it.
//!
//! | file | what it is |
//! |---|---|
//! | [`lost_entries`] | the readable entries of a tail that is cut |
//! | [`offline_access`] | what the tools for a stopped node need |
//! | [`open`] | opening a directory: identity, lock, recovery |
//! | [`scan`] | [`Scan`](scan::Scan): goes from segment to segment as long as they continue each other |
//! | [`table`] | the decision table: what may be cut, what must not |

pub(crate) mod lost_entries;
pub(crate) mod offline_access;
pub(crate) mod open;
pub(crate) mod scan;
pub(crate) mod table;

pub(crate) use table::{
    Decision, EndCase, FileDecision, HardStateCase, IndexCase, Known, decide, decide_index, decide_state,
};
