//! What runs beside the ledgers of a node, until they are closed or the node is gone.
//!
//! | file | what it is |
//! |---|---|
//! | `formation` | the first membership, by the lowest id, when all peers are empty |
//! | `master_wait` | the task that forms the cluster, and says why there is no master |
//! | `leader_placement` | the task that moves the leadership to where it belongs |
//! | `retainer` | the task that removes old segments |
//! | `roll_by_age` | ends the active segment because of its age, if the members can follow |
//! | `scrubber` | the task that reads sealed segments, and has damage repaired |
//! | `clock_check` | the task that asks the other members what time it is, when this node's clock is in doubt |
//! | `disk_watch` | the task that reports a disk that hangs |
//! | `reopener` | the task that opens ledgers whose directory another process had open |

pub(crate) mod clock_check;
pub(crate) mod disk_watch;
pub(crate) mod formation;
pub(crate) mod leader_placement;
pub(crate) mod master_wait;
pub(crate) mod reopener;
pub(crate) mod retainer;
mod roll_by_age;
pub(crate) mod scrubber;
