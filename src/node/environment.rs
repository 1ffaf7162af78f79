//! The world a node lives in: the machine in production, a simulation in tests.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::config::timing::Timing;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::log::Background;
use crate::log::threads::{BackgroundThread, FlushScheduler, FlushThread};
use crate::peer::outages::Outages;
use crate::raft::heartbeat::ticker::Ticker;
use crate::raft::storage::timestamps::Clock;
use crate::transport::Transport;
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::types::Incarnation;

/// Bytes a message may have beside the largest entry: its framing, and the other entries of one replication request.
const MESSAGE_SLACK: usize = 4 << 20;

/// What the ledgers of a node get from outside.
#[derive(Clone)]
pub struct Environment {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) scheduler: Arc<dyn FlushScheduler>,
    pub(crate) background: Arc<dyn Background>,
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
    /// Calls to peers that fail, of all ledgers of the node.
    pub(crate) outages: Outages,
    /// Ticks for all ledgers of the node.
    pub(crate) ticker: Arc<Ticker>,
    /// Makes the incarnation of a new directory.
    pub(crate) incarnation: Arc<dyn Fn() -> Incarnation + Send + Sync>,
}

impl Environment {
    /// The machine.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(super) fn machine(config: &Config) -> io::Result<Self> {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Ok(Self {
            disk: Arc::new(RealDisk),
            scheduler: Arc::new(FlushThread::start()?),
            background: Arc::new(BackgroundThread::start()?),
            clock: Arc::new(clock),
            transport: Arc::new(GrpcTransport::new(grpc_options(config))),
            outages: Outages::default(),
            ticker: Arc::new(Ticker::new(config)),
            incarnation: Arc::new(Incarnation::random),
        })
    }
}

/// How this node calls its peers.
pub(crate) fn grpc_options(config: &Config) -> GrpcOptions {
    let timing = Timing::of(config);
    GrpcOptions {
        max_message_bytes: message_limit(config.segment_size),
        stall_timeout: config.stall_timeout,
        connect_timeout: timing.call(),
        probe_timeout: timing.probe(),
        // Above the time that connecting may take, because the peer is as far away.
        keepalive_timeout: timing.call() * 2,
        ..GrpcOptions::default()
    }
}

/// Largest message between nodes. Every node must take what any other may send, whatever its own limits for appends:
/// so the limit follows from the segment size, which is the same everywhere, and no entry is larger than a segment. It
/// is a bound, not a buffer: memory is used as bytes come in.
pub(super) fn message_limit(segment_size: u64) -> usize {
    usize::try_from(segment_size).unwrap_or(usize::MAX).saturating_add(MESSAGE_SLACK)
}
