//! Nodes asked one after the other.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::directory::Directory;
use super::error::{ClientError, Tried};
use super::node::NodeClient;

/// What the first of the nodes says that has an answer, or an error that does not pass: `Err` if none has. One that
/// hangs leaves the others their share of the time until `deadline`.
///
/// `call` is no `AsyncFn`: what calls one cannot be shown to be able to move to another thread.
pub(super) async fn in_turn<T, F>(
    directory: &Arc<Directory>,
    addresses: Vec<String>,
    deadline: Instant,
    passes: impl Fn(&ClientError) -> bool,
    call: impl Fn(NodeClient) -> F,
) -> Result<Result<T, ClientError>, Vec<Tried>>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut tried = Vec::new();
    for (left, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let node = NodeClient::new(directory.clone(), address.clone());
        let within = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(within, call(node)).await {
            Ok(Err(error)) if passes(&error) => tried.push(Tried { why: error.why(), address }),
            Ok(done) => return Ok(done),
            Err(_) => tried.push(Tried { address, why: format!("no answer within {within:.1?}") }),
        }
    }
    Err(tried)
}
