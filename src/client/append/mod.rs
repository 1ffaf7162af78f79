//! The append stream: what is appended is queued, sent to the master, and sent again where that is sound.
//!
//! | file | what it is |
//! |---|---|
//! | `driver` | the task that owns the stream: finds the master, sends, starts over |
//! | `session` | one stream to one node, and what it was sent without an answer yet |
//! | `queue` | appends that are surely not in the log, and what becomes one request |

pub(super) mod driver;
pub(super) mod queue;
mod session;
