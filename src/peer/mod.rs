//! openraft's view of its peers.
//!
//! | file | what it is |
//! |---|---|
//! | [`network`] | openraft's network: makes the clients to the members of one ledger |
//! | [`client`] | the calling side: calls one member over a transport |
//! | `replication` | what a leader records of a replication stream, and what ends one |
//! | `call_outcomes` | records how calls to the members end |
//! | [`outages`] | logs failing calls to peers as outages: begin, change, reminder, end |
//! | `peer_vote_collector` | asks for votes that take longer to be saved than openraft waits |
//! | [`read_quorum`] | asks a quorum whether this node leads |
//! | [`addresses`] | the members' current addresses, as the membership says |
//! | [`server`] | the receiving side: checks what a call says, then hands it to Raft |
//! | [`leader`] | how long a follower is bound to its leader, and when it gives it up |
//! | [`fetch`] | committed entries for a node whose copy is damaged, both sides |
//! | [`envelope`] | who calls whom |
//! | [`checks`] | checks that a request is one that a peer in good order can send |
//! | [`convert`] | Raft's types to messages and back |

pub(crate) mod addresses;
mod call_outcomes;
pub(crate) mod checks;
mod client;
pub(crate) mod convert;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod leader;
pub(crate) mod network;
pub(crate) mod outages;
pub(crate) mod peer_vote_collector;
pub(crate) mod read_quorum;
mod replication;
pub(crate) mod server;
