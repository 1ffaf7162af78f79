//! The transport over tonic.
//!
//! | file | what it is |
//! |---|---|
//! | [`transport`] | [`GrpcTransport`](transport::GrpcTransport): keeps one [`link`] per address and lane |
//! | [`link`] | [`GrpcLink`](link::GrpcLink): the calls to one peer over one lane, each bounded in time |
//! | [`heartbeats`] | the heartbeat lane: what falls due together travels in one call |
//! | [`channel`] | the connection a link keeps, and when it is given up for a new one |
//! | [`dialer`] | how connections are made: the seam to TCP on the calling side |
//! | [`resolver`] | turns names into addresses, at every connect |
//! | [`replication`] | the caller's side of a replication stream: closes its requests, notices a stall |
//! | [`status`] | refusals and failures, to and from gRPC statuses |
//! | [`service`] | the peer service: routes each call to its ledger |
//! | [`server`] | [`GrpcServer`](server::GrpcServer): listener, services, an end that comes |
//! | [`acceptor`] | the accept loop, which a full descriptor table does not spin; the seam to TCP on the serving side |
//! | [`greeting`] | what a connection says first: peer or client |
//! | [`connection_limit`] | how many connections of which kind may be open |
//! | [`turned_away`] | what answers where there is no place |
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

/// Bytes one stream may have under way before the receiver has taken them. Covers a bandwidth-delay product of
/// 1 GiB/s at 8 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest HTTP/2 frame between nodes, bytes: whole batches travel in few frames.
const FRAME_BYTES: u32 = 1 << 20;
/// Most bytes of headers (and trailers, which carry refusals) in one message.
const HEADER_BYTES: u32 = 16 << 10;
