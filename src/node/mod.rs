//! STUB of the public node API (signatures final, bodies to come).
#![allow(clippy::todo, unused, missing_docs)]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::config::{Config, Durability};
use crate::error::*;
use crate::types::*;

/// A node: hosts ledgers, talks to its peers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node(std::sync::Arc<()>);

/// Collects a node's configuration and starts it.
pub struct NodeBuilder {
    config: Config,
    services: Vec<Box<dyn FnOnce(&Node) -> tonic::service::Routes + Send>>,
}

impl Node {
    pub fn builder(id: NodeId, bind: impl Into<String>) -> NodeBuilder {
        todo!()
    }
    /// The ledger of `group`.
    pub fn ledger(&self, group: &str) -> Result<Ledger, UnknownGroup> {
        todo!()
    }
    /// All ledgers.
    pub fn ledgers(&self) -> Vec<Ledger> {
        todo!()
    }
    pub fn id(&self) -> &NodeId {
        todo!()
    }
    pub fn cluster(&self) -> &ClusterName {
        todo!()
    }
    /// Where the node really listens (port 0 resolved).
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    /// Stops cleanly: no new appends, everything flushed, directory unlocked.
    pub async fn shutdown(&self) {
        todo!()
    }
}

impl NodeBuilder {
    pub fn from_config(config: Config) -> Self {
        todo!()
    }
    pub fn cluster(self, name: ClusterName) -> Self {
        todo!()
    }
    pub fn group(self, group: Group) -> Self {
        todo!()
    }
    pub fn peers(self, peers: Peers) -> Self {
        todo!()
    }
    pub fn data_dir(self, dir: impl Into<PathBuf>) -> Self {
        todo!()
    }
    pub fn advertise(self, address: impl Into<String>) -> Self {
        todo!()
    }
    pub fn durability(self, durability: Durability) -> Self {
        todo!()
    }
    pub fn segment_size(self, bytes: u64) -> Self {
        todo!()
    }
    /// Further gRPC services on the node's port (the client service of [`server`](crate::server)).
    pub(crate) fn service(self, make: impl FnOnce(&Node) -> tonic::service::Routes + Send + 'static) -> Self {
        todo!()
    }
    /// Every other knob.
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        todo!()
    }
    pub async fn start(self) -> Result<Node, StartError> {
        todo!()
    }
}

/// One replicated log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger(std::sync::Arc<()>);

/// A batch was appended; its records follow each other without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAck {
    pub first_index: u64,
    pub first_position: u64,
    pub term: u64,
    pub count: u32,
}

/// An append whose place in the order is fixed and whose outcome is awaited.
#[must_use]
pub struct Pending(());
impl std::future::Future for Pending {
    type Output = Result<BatchAck, AppendError>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

impl Ledger {
    pub fn group(&self) -> &Group {
        todo!()
    }
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, AppendError> {
        todo!()
    }
    /// All records or none.
    pub async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, AppendError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        todo!()
    }
    /// Waits for room (back-pressure), then fixes the batch's place in the order of this process's appends; the
    /// outcome comes from the returned future. `timeout`: None = the node's append_timeout.
    pub async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        todo!()
    }
    /// Like submit, but refuses with Busy instead of waiting.
    pub fn try_append(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        todo!()
    }
    pub async fn get(&self, index: u64) -> Result<Record, ReadError> {
        todo!()
    }
    /// Committed records of the range, up to the limit; empty range end = committed end.
    pub async fn read(
        &self,
        range: impl std::ops::RangeBounds<u64>,
        limit: ReadLimit,
    ) -> Result<Vec<Record>, ReadError> {
        todo!()
    }
    /// Committed records from `from` on, waiting for more. A `futures::Stream` of `Result<Record, ReadError>`.
    pub fn tail(&self, from: u64) -> Tail {
        todo!()
    }
    pub fn role(&self) -> watch::Receiver<Role> {
        todo!()
    }
    pub fn status(&self) -> Status {
        todo!()
    }
}

/// Stream of committed records; ends with an error if the ledger closes or retention overtakes it.
pub struct Tail(());
impl futures::Stream for Tail {
    type Item = Result<Record, ReadError>;
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        todo!()
    }
}
