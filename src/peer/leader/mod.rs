//! How long a follower is bound to its leader, and when it gives it up.
//!
//! | file | what it is |
//! |---|---|
//! | [`watch`] | gives up a leader whose process has died, without waiting for its lease to end |
//! | `lease` | how long a follower is bound to its leader |

mod lease;
pub(crate) mod watch;
