//! Nodes asked one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::node::NodeClient;

/// What the first of the nodes says that has an answer, or an error that does not pass: `None` if none has. One that
/// hangs leaves the others their share of the time until `deadline`.
///
/// Each node removes records by itself. So what one has removed is asked of the others too, and
/// [`ClientError::Removed`] is said when none of them gave it, whatever they said instead: with the lowest index that
/// any of them begins at.
///
/// Before it is called a node says of which cluster it is: where that is not known, or each time (`anew`).
///
/// `call` is no `AsyncFn`: what calls one cannot be shown to be able to move to another thread.
pub(super) async fn try_each<T, F>(
    topology: &Arc<Topology>,
    addresses: Vec<String>,
    timeout_of_calls: Duration,
    deadline: Instant,
    anew: bool,
    passes: impl Fn(&ClientError) -> bool,
    call: impl Fn(NodeClient) -> F,
) -> Option<Result<T, ClientError>>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut removed = None;
    for (left, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let node = NodeClient::new(topology.clone(), address.clone(), timeout_of_calls);
        let within = deadline.saturating_duration_since(Instant::now()) / left;
        let vetted = async {
            topology.vet(&address, anew).await?;
            call(node).await
        };
        match timeout(within, vetted).await {
            Ok(Err(ClientError::Removed { index, first })) => {
                let lowest = removed.map_or(first, |(_, lowest)| first.min(lowest));
                removed = Some((index, lowest));
            }
            Ok(Err(error)) if removed.is_some() || passes(&error) => topology.note_refusal(&address, &error),
            Ok(done) => return Some(done),
            // It has said nothing new.
            Err(_) => {}
        }
    }
    removed.map(|(index, first)| Err(ClientError::Removed { index, first }))
}
