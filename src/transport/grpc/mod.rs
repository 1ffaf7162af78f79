//! The transport over tonic.
//!
//! | file | what it is |
//! |---|---|
//! | [`transport`] | [`GrpcTransport`](transport::GrpcTransport): keeps one [`link`] per address and lane |
//! | [`link`] | [`GrpcLink`](link::GrpcLink): the calls to one peer over one lane, each bounded in time |
//! | [`heartbeats`] | the heartbeat lane: heartbeats that fall due together travel in one call |
//! | [`channel`] | the connection that a link keeps, and when a new one replaces it |
//! | [`dialer`] | how connections are made: the seam to TCP on the calling side |
//! | [`resolver`] | turns names into addresses, at every connect |
//! | [`replication`] | the caller's side of a replication stream: closes its requests, notices a stall |
//! | [`status`] | refusals and failures, to and from gRPC statuses |
//! | [`service`] | the peer service: routes each call to its ledger |
//! | [`server`] | [`GrpcServer`](server::GrpcServer): listener, services, a bounded shutdown |
//! | [`acceptor`] | the accept loop, which does not spin without descriptors; the seam to TCP on the serving side |
//! | [`greeting`] | what a connection says first: peer or client |
//! | [`connection_limit`] | how many connections peers and clients may have open |
//! | [`turned_away`] | the service that answers connections without a place |
//! | [`guarded`] | a connection that must speak HTTP/2 soon and can be closed from outside |

pub(crate) mod acceptor;
pub(crate) mod channel;
pub(crate) mod connection_limit;
pub(crate) mod dialer;
pub(crate) mod greeting;
pub(crate) mod guarded;
pub(crate) mod heartbeats;
pub(crate) mod link;
pub(crate) mod replication;
pub(crate) mod resolver;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod transport;
pub(crate) mod turned_away;

#[cfg(test)]
mod tests;

/// Bytes that one stream may have under way before the receiver has taken them. Covers a bandwidth-delay product of
/// 1 GiB/s at 8 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest HTTP/2 frame between nodes, bytes: whole batches travel in few frames.
const FRAME_BYTES: u32 = 1 << 20;
/// Most bytes of headers (and trailers, which carry refusals) in one message.
const HEADER_BYTES: u32 = 16 << 10;
