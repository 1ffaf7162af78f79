//! openraft's view of its peers.
//!
//! | file | what it is |
//! |---|---|
//! | [`network`] | openraft's network: makes the clients to the members of one ledger |
//! | [`client`] | the calling side: calls one member over a transport |
//! | `replication` | what is watched on a leader's replication stream |
//! | `call_outcomes` | how calls to the members ended, and what that says of this node |
//! | [`outages`] | calls to peers that fail: told when that begins, changes, goes on and ends |
//! | `vote_canvass` | asks for votes that take longer to be saved than openraft waits |
//! | [`read_quorum`] | asks a quorum whether this node leads |
//! | [`addresses`] | where the members are reached, as the membership says |
//! | [`server`] | the receiving side: checks what a call says, then hands it to Raft |
//! | [`leader`] | how a follower holds on to its leader, and when it gives it up |
//! | [`fetch`] | committed entries for a node whose copy is damaged, both sides |
//! | [`envelope`] | who calls whom |
//! | [`checks`] | what a request must say to be one that a peer in good order can send |
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
pub(crate) mod read_quorum;
mod replication;
pub(crate) mod server;
pub(crate) mod vote_canvass;
