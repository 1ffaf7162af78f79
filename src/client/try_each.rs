//! Nodes asked one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::node::NodeClient;

/// One call, for which nodes are asked one after the other.
pub(super) struct Attempt<'a> {
    pub(super) topology: &'a Arc<Topology>,
    /// Of each call to a node.
    pub(super) timeout: Duration,
    /// Of all of them: each node gets an equal share of the time that is left, so that one that hangs costs the others
    /// nothing.
    pub(super) deadline: Instant,
    /// Whether each node says again of which cluster it is before it is called, or only one of which the client does
    /// not know it.
    pub(super) vet_anew: bool,
}

impl Attempt<'_> {
    /// The first answer, or the first error that `passes` does not let pass; `None` if every node failed to give
    /// either.
    ///
    /// Each node removes records by itself. So once a node has said [`ClientError::Removed`], the others are asked as
    /// well, and any answer counts. If none gives one, the error is [`ClientError::Removed`], with the lowest index
    /// that any of them begins at, whatever else they said.
    ///
    /// `call` is no `AsyncFn`: the compiler cannot show that a future which calls one is `Send`.
    pub(super) async fn try_each<T, F>(
        &self,
        addresses: Vec<String>,
        passes: impl Fn(&ClientError) -> bool,
        call: impl Fn(NodeClient) -> F,
    ) -> Option<Result<T, ClientError>>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut removed = None;
        for (left, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
            let node = NodeClient::new(self.topology.clone(), address.clone(), self.timeout);
            let within = self.deadline.saturating_duration_since(Instant::now()) / left;
            let vetted = async {
                self.topology.vet(&address, self.vet_anew).await?;
                call(node).await
            };
            match timeout(within, vetted).await {
                Ok(Err(ClientError::Removed { index, first })) => {
                    let lowest = removed.map_or(first, |(_, lowest)| first.min(lowest));
                    removed = Some((index, lowest));
                }
                Ok(Err(error)) if removed.is_some() || passes(&error) => {
                    self.topology.note_refusal(&address, &error);
                }
                Ok(done) => return Some(done),
                // The node has said nothing new.
                Err(_) => {}
            }
        }
        removed.map(|(index, first)| Err(ClientError::Removed { index, first }))
    }
}
