//! What is watched on a leader's replication stream, on its way between openraft and a member.
//!
//! | file | what it is |
//! |---|---|
//! | `ack_recorder` | what members answer on their replication streams |
//! | `lagging` | ends the replication streams of peers that are slower than retention |
//! | `restart_backoff` | how soon a replication stream that ended without a gain is begun again |
//! | `stalled` | ends the replication streams that stand at entries that are gone |

pub(super) mod ack_recorder;
pub(super) mod lagging;
pub(super) mod restart_backoff;
pub(super) mod stalled;
