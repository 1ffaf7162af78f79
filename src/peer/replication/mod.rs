//! What is watched on a leader's replication stream, on its way between openraft and a member.
//!
//! | file | what it is |
//! |---|---|
//! | `answers` | what members answer on their replication streams |
//! | `lagging` | ends the replication streams of peers that are slower than retention |
//! | `pace` | how soon a replication stream that ended without a gain is begun again |
//! | `stalled` | ends the replication streams that stand at entries that are gone |

pub(super) mod answers;
pub(super) mod lagging;
pub(super) mod pace;
pub(super) mod stalled;
