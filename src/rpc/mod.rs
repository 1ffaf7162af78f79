//! openraft's view of the network.
//!
//! | file | what it is |
//! |---|---|
//! | [`transport`] | the seam: what a wire must do; gRPC implements it, and the simulation's network |
//! | [`router`] | finds the ledger a peer call is for; refuses calls for other clusters and unknown groups |
//! | [`addresses`] | where the members are reached, as the membership says |
//! | [`envelope`] | who calls whom |
//! | [`peer_client`] | the calling side: openraft's network over a transport |
//! | `answered` | what members answer on their replication streams |
//! | `backlog` | bounds what replication streams have under way in Raft, over all that are begun anew |
//! | `pace` | how soon a replication stream that ended without a gain is begun again |
//! | [`outages`] | calls to peers that fail: told when that begins, changes, goes on and ends |
//! | `overtaken` | ends the replication streams of peers that are slower than retention |
//! | `refusals` | how calls to the members ended, and what that says of this node |
//! | `stranded` | ends the replication streams that stand at entries that are gone |
//! | `voters` | asks for votes that take longer to be saved than openraft waits |
//! | [`rounds`] | asks a quorum whether this node leads |
//! | `admission` | who may call: checked before anything of the ledger hears of the call |
//! | `callers` | whether who calls is who it says, as far as a membership can tell |
//! | [`checks`] | what a request must say to be one that a peer in good order can send |
//! | [`peer_server`] | the receiving side: checks what a call says, then hands it to Raft |
//! | [`refusing`] | the receiving side of a ledger that could not be opened: refused as closed, with the reason |
//! | [`beats`] | heartbeats of many ledgers in one call, both sides |
//! | [`leader_watch`] | gives up a leader whose process has died before its lease is over |
//! | [`leader_hold`] | for how long a follower is bound to its leader |
//! | [`fetch`] | committed entries for a node whose copy is damaged, both sides |
//! | [`convert`] | Raft's types to messages and back |
//! | [`grpc`] | the transport over tonic, the guarded accept loop, the peer service |
//! | [`client_wire`] | the crate's types as they travel between clients and nodes |
//! | `status_wire` | what a node says of a ledger and of its members, as it travels |

pub(crate) mod addresses;
mod admission;
mod answered;
mod backlog;
pub(crate) mod beats;
mod callers;
pub(crate) mod checks;
pub(crate) mod client_wire;
pub(crate) mod convert;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod grpc;
pub(crate) mod leader_hold;
pub(crate) mod leader_watch;
mod liveness;
pub(crate) mod outages;
mod overtaken;
mod pace;
pub(crate) mod peer_client;
pub(crate) mod peer_server;
mod refusals;
pub(crate) mod refusing;
pub(crate) mod rounds;
pub(crate) mod router;
pub(crate) mod status_wire;
mod stranded;
pub(crate) mod transport;
mod voters;

use crate::format::DIRECTORY_VERSION;
pub(crate) use crate::pb;

/// Version of the protocol between nodes, unless there may be a roll in the caller's log.
pub(crate) const WIRE_VERSION: u32 = 1;
/// Versions that are understood: entries of kind *roll* came with the second.
pub(crate) const WIRE_VERSIONS: std::ops::RangeInclusive<u32> = WIRE_VERSION..=2;

/// The version of a call by a node whose directory is of that version: a node of before refuses it by its number, and
/// never for an entry that it cannot read.
pub(crate) fn wire_version(format: u32) -> u32 {
    if format < DIRECTORY_VERSION { WIRE_VERSION } else { *WIRE_VERSIONS.end() }
}
