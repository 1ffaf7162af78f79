//! What happened to a ledger, as JSON lines: what clients asked and were told, what nodes said of themselves, what was
//! done to them, and what every replica held in the end.
//!
//! One format for all: the simulation, the fault tests with real processes, and whoever writes down what their own
//! clients saw. `dledger-faults check HISTORY` judges it.
//!
//! | file | what it is |
//! |---|---|
//! | `event` | [`Event`]: one line |
//! | `hash` | [`struct@Hash`]: which body |
//! | `recorder` | [`Recorder`]: writes lines while it happens |
//! | `read` | [`History`]: reads them |
//! | `line` | how a line is decoded |
//! | `law` | [`Law`]: what must hold |
//! | `judge` | [`check`], [`Judge`]: whether it did |
//! | `calls` | who called, when, and how it ended |
//! | `log` | the log as it was seen, and as the replicas have it |
//! | `order` | the laws of the log, index by index |
//! | `time` | the laws of sessions and of real time |
//! | `nodes`, `retention`, `faults` | what nodes said, what was removed, what was done to them |
//! | `findings` | what is found on the way |
//! | `report` | [`Report`]: what was found |

mod calls;
mod event;
mod faults;
mod findings;
mod hash;
mod judge;
mod law;
mod line;
mod log;
mod nodes;
mod order;
mod read;
mod recorder;
mod report;
mod retention;
mod time;

pub use event::{
    Acked, Answer, Begin, Call, ChainAt, Event, FORMAT, FaultEvent, FaultPhase, Item, NodeStatusEvent, Replica, What,
};
pub use hash::Hash;
pub use judge::{Judge, check};
pub use law::Law;
pub use read::{History, HistoryError};
pub use recorder::Recorder;
pub use report::{Counts, Report, Verdict, Violation};
