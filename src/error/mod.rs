//! One error type per operation. Each says what was found, what was expected and what to do.
//!
//! | file | what failed |
//! |---|---|
//! | `start` | starting a node |
//! | `open` | opening a ledger's directory |
//! | `damage` | reading bytes that are not what was written |
//! | `mismatch` | the three facts of each of these: what, found, expected |
//! | `repair` | getting damaged bytes back from the peers |
//! | `hosting` | creating, removing or finding a ledger of a node |
//! | `append` | an append; [`Outcome`]: whether its records can be in the log |
//! | `read` | a read |
//! | `remove` | removing old records |
//! | `members` | a change of the members or of the leadership |
//! | `master` | waiting for a master |

mod append;
mod damage;
mod hosting;
mod master;
mod members;
mod mismatch;
mod open;
mod read;
mod remove;
mod repair;
mod start;

pub use append::{AppendError, Outcome};
pub use damage::Damage;
pub use hosting::{CreateLedgerError, LedgerError, RemoveLedgerError, UnknownGroup};
pub use master::NoMasterError;
pub use members::MemberError;
pub use mismatch::Mismatch;
pub use open::OpenError;
pub use read::ReadError;
pub use remove::RemoveError;
pub use repair::RepairError;
pub use start::StartError;

pub(crate) use open::user;
