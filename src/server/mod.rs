//! The gRPC service for remote clients, over a [`Node`].
//!
//! | file | what it is |
//! |---|---|
//! | `service` | the calls of `LedgerService` and what each needs of the node |
//! | `admin` | the calls of `AdminService`: retention, members |
//! | `endpoint` | the service on the node's port: reads appends itself, hands on all else |
//! | `append_budget` | how many bytes of clients' appends may be on the node |
//! | `append_reader` | reads the append requests of one call, each when there is room |
//! | `answer_timeout` | drops what a call holds whose client does not take its answers |
//! | `append_stream` | the append stream: submits in arrival order, answers as outcomes come |
//! | `read` | batches of bounded size for read and tail |

mod admin;
mod answer_timeout;
mod append_budget;
mod append_reader;
mod append_stream;
mod endpoint;
mod read;
mod service;
#[cfg(test)]
mod tests;

use crate::error::StartError;
use crate::node::{Node, NodeBuilder};

/// Starts a node that also answers remote [clients](crate::client) on its port.
///
/// The same as [`NodeBuilder::start`] otherwise. A node started that way replicates with its peers and serves the
/// program that embeds it, but `dledger append` and [`Client`](crate::Client) find no service on it.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use dledger::{Node, NodeId};
///
/// let builder = Node::builder(NodeId::new(0), "host0:40911")
///     .group("orders".parse()?)
///     .peers("n0=host0:40911;n1=host1:40911;n2=host2:40911".parse()?)
///     .data_dir("/var/lib/orders");
/// let node = dledger::server::serve(builder).await?;
/// println!("clients reach it at {}", node.local_addr());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`NodeBuilder::start`].
pub async fn serve(builder: NodeBuilder) -> Result<Node, StartError> {
    with_services(builder).start().await
}

/// A node that will answer remote clients.
pub(crate) fn with_services(builder: NodeBuilder) -> NodeBuilder {
    builder.service(service::routes)
}
