//! What happened to a ledger, as JSON lines: what clients asked and were told, what nodes said of themselves, what was
//! done to them, and what every replica held in the end.
//!
//! One format for all: the simulation, the fault tests with real processes, and whoever writes down what their own
//! clients saw. `dledger check HISTORY` judges it.
//!
//! | file | what it is |
//! |---|---|
//! | `event` | [`Event`]: one line |
//! | `hash` | [`Hash`]: which body |
//! | `recorder` | [`Recorder`]: writes lines while it happens |
//! | `read` | [`History`]: reads them |
//! | `law` | [`Law`]: what must hold |
//! | `judge` | [`check`], [`Judge`]: whether it did |
//! | `report` | [`Report`]: what was found |

mod event;
mod hash;
mod judge;
mod law;
mod read;
mod recorder;
mod report;

pub use event::{
    Acked, Answer, Begin, Call, ChainAt, Event, FORMAT, FaultEvent, FaultPhase, Item, NodeStatusEvent, Replica, What,
};
pub use hash::Hash;
pub use judge::{Judge, check};
pub use law::Law;
pub use read::{History, HistoryError};
pub use recorder::Recorder;
pub use report::{Counts, Report, Verdict, Violation};
