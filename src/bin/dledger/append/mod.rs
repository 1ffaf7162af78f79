//! `dledger append`: one record, or one per line with many in flight.
//!
//! | file | what it is |
//! |---|---|
//! | `command` | [`Append`]: the command |
//! | `load` | `LineAppends`: which lines are under way, and what became of the others |
//! | `lines` | reads records from lines of files, in bounded memory |

mod command;
mod lines;
mod load;

pub(crate) use command::Append;
