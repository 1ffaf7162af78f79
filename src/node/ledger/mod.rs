//! One replicated log.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | [`Ledger`]: the handle, its group and its role |
//! | [`append`] | appending |
//! | [`appender`] | the one way of every append, in any term or in one |
//! | [`read`] | get, read, tail |
//! | [`barrier`] | waits until this node has all that a read must see |
//! | [`status`] | what a ledger is at one moment; scrubbing it now |
//! | [`members`] | the members, and changes of them |
//! | [`handover`] | handing the leadership over |
//! | [`close`] | closing, because the node stops or stored entries are damaged |
//! | [`retention`] | what retention has left; removing by hand |

mod append;
mod appender;
mod barrier;
mod close;
mod handover;
mod members;
mod read;
mod retention;
mod status;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use self::appender::AppendLimits;
pub(crate) use self::appender::Appender;
pub use self::retention::RetentionStatus;
use crate::config::{Config, Retention};
use crate::error::AppendError;
use crate::raft::replica::Replica;
use crate::transport::Transport;
use crate::types::{Group, Role};

/// Longest an append or a wait may take, one hour: far beyond any use, far below what clocks overflow at.
pub(in crate::node) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// One replicated log on this node. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<LedgerInner>,
}

struct LedgerInner {
    replica: Replica,
    transport: Arc<dyn Transport>,
    /// Where peers reach this node.
    advertised: String,
    limits: AppendLimits,
    /// A disk that has made no progress for this long hangs.
    stall: Duration,
    retention: Option<Retention>,
}

/// A handle that does not keep the ledger.
pub(crate) struct WeakLedger(Weak<LedgerInner>);

impl Ledger {
    pub(in crate::node) fn new(
        replica: Replica,
        transport: Arc<dyn Transport>,
        advertised: &str,
        config: &Config,
    ) -> Self {
        let inner = LedgerInner {
            replica,
            transport,
            advertised: advertised.to_owned(),
            limits: AppendLimits::of(config),
            stall: config.disk_stall_timeout,
            retention: config.retention,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The ledger's group.
    pub fn group(&self) -> &Group {
        &self.inner.replica.identity.group
    }

    /// What this node is for the ledger, as it changes. A program that embeds the ledger takes its broker role from
    /// here.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.inner.replica.role.clone()
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.inner.replica
    }

    pub(in crate::node) fn transport(&self) -> &dyn Transport {
        &*self.inner.transport
    }

    /// Where peers reach this node.
    pub(in crate::node) fn advertised(&self) -> &str {
        &self.inner.advertised
    }

    /// Whether both are handles of one ledger of one node.
    pub(in crate::node) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(in crate::node) fn downgrade(&self) -> WeakLedger {
        WeakLedger(Arc::downgrade(&self.inner))
    }

    /// Why a closed ledger takes no append.
    pub(in crate::node) fn closed(&self) -> AppendError {
        let role = self.inner.replica.role.borrow();
        AppendError::Closed { reason: role.final_reason().unwrap_or("the node is shutting down").to_owned() }
    }
}

impl WeakLedger {
    pub(in crate::node) fn upgrade(&self) -> Option<Ledger> {
        self.0.upgrade().map(|inner| Ledger { inner })
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.group())
    }
}
