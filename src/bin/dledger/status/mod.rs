//! `dledger status`: what each node knows of a ledger.
//!
//! | file | what it is |
//! |---|---|
//! | `command` | `StatusCommand`: the command, its tables and its objects |
//! | `watch` | `--watch`: the same again and again, with what is committed per second |
//! | `histories` | whether the nodes have one history of the ledger |

mod command;
mod histories;
mod watch;

pub(crate) use command::{StatusCommand, refused_alike, wrong};
