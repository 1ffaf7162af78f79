//! How a follower holds on to its leader, and when it gives it up.
//!
//! | file | what it is |
//! |---|---|
//! | [`watch`] | gives up a leader whose process has died before its lease is over |
//! | `lease` | for how long a follower is bound to its leader |

mod lease;
pub(crate) mod watch;
