//! The clients of a scenario: what they ask and are told is the history.
//!
//! | file | what it is |
//! |---|---|
//! | `load` | [`Load`]: which clients there are; [`Workload`]: all of them at work |
//! | `bodies` | no two records are equal |
//! | `appends` | appends one by one, in batches, and pipelined in sessions |
//! | `reads` | gets and reads of all consistencies at all nodes |
//! | `tails` | a tail on each node |
//! | `sampler` | what the nodes say of themselves |
//! | `progress` | [`Progress`]: what came of the calls, and how long none was acknowledged |

mod appends;
mod bodies;
mod load;
mod progress;
mod reads;
mod sampler;
mod tails;

pub(crate) use appends::LONG;
pub use load::{Load, Workload};
pub use progress::{Figures, Progress};
