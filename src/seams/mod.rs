//! What the simulator, the benches and the laws of the decoders reach past the API: the traits behind which a
//! simulation puts its own disk, wire and clock, and what is behind them. Not part of the API, without any promise.
//!
//! | file | what it is |
//! |---|---|
//! | this | the seams, and a node or a ledger started on them |
//! | [`laws`] | the laws of every decoder, as functions of any bytes |
//! | `ledger` | what a test does to a ledger from inside, and what only its inside tells |
//! | `local_log` | the log alone, for the benches |
//! | `view` | what a ledger holds, for invariants |

pub mod laws;
mod ledger;
mod local_log;
mod view;

/// The messages.
pub mod pb {
    pub use crate::wire::pb::*;
}

use std::sync::Arc;

pub use crate::disk::sim::{Kept, Op, Rng, SimDisk, Trace};
pub use crate::disk::{Disk, DiskDir, DiskFile};
pub use crate::log::threads::FlushScheduler;
pub use crate::log::{Background, Flusher};
pub use crate::node::environment::Environment;
pub use crate::node::start::start_ledger;
pub use crate::raft::append::window::reached::times as refused_while_more_waited;
pub use crate::raft::blocking::inline_on_this_thread;
pub use crate::transport::grpc::acceptor::Accept;
pub use crate::transport::grpc::dialer::Dialer;
pub use crate::transport::router::Router;
pub use crate::transport::{Answer, AnswerStream, Lane, Link, PeerHandler, Transport, TransportError};
pub use ledger::{
    close_log, end_segment, has_heard_from_leader, has_membership_entry, is_told_removed, lacks_acknowledged,
    purge_all, stop_raft, tell_removed, transfer,
};
pub use local_log::{LocalLog, LocalReader};
pub use view::{EntryView, LedgerView, PointView, VoteView};

use crate::client::{Client, ClientBuilder};
use crate::config::Config;
use crate::error::StartError;
use crate::node::environment::grpc_options;
use crate::node::{Node, NodeBuilder};
use crate::peer::outages::Outages;
use crate::raft::heartbeat::ticker::Ticker;
use crate::transport::grpc::transport::GrpcTransport;
use crate::types::Incarnation;

/// What an [`Environment`] is made of, besides what every node has of its own.
pub struct World {
    /// Where its files lie.
    pub disk: Arc<dyn Disk>,
    /// Runs flush passes.
    pub scheduler: Arc<dyn FlushScheduler>,
    /// Runs slow file work.
    pub background: Arc<dyn Background>,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Calls its peers.
    pub transport: Arc<dyn Transport>,
    /// The incarnation of a new directory.
    pub incarnation: u128,
}

impl World {
    /// The environment of one node with this configuration.
    pub fn environment(self, config: &Config) -> Environment {
        let Self { disk, scheduler, background, clock, transport, incarnation } = self;
        Environment {
            disk,
            scheduler,
            background,
            clock,
            transport,
            outages: Outages::default(),
            ticker: Arc::new(Ticker::new(config)),
            incarnation: Arc::new(move || Incarnation::from_u128(incarnation)),
        }
    }
}

/// Starts a node that serves peers and clients where `listener` listens, as [`server::serve`](crate::server::serve)
/// does.
///
/// # Errors
/// As there.
pub async fn serve(config: Config, listener: impl Accept, env: Environment) -> Result<Node, StartError> {
    config.validate()?;
    crate::server::with_services(NodeBuilder::from_config(config)).start_on(listener, env).await
}

/// gRPC to peers, over the connections that `dialer` makes.
pub fn grpc_transport(config: &Config, dialer: Arc<dyn Dialer>) -> Arc<dyn Transport> {
    Arc::new(GrpcTransport::with_dialer(grpc_options(config), dialer))
}

/// A client over the connections that `dialer` makes.
pub fn client(builder: ClientBuilder, dialer: Arc<dyn Dialer>) -> Client {
    builder.build_on(dialer)
}

/// How many connections to `node` are open.
pub fn connections(node: &Node) -> usize {
    node.connections()
}
