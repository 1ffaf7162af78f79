//! What nodes and clients say to each other.
//!
//! | file | what it is |
//! |---|---|
//! | [`pb`] | the messages and services, generated from `proto/` |
//! | [`version`] | the versions of the protocol between nodes |
//! | [`mod@refusal`] | how a call is refused: with what was found and what was expected |
//! | [`incarnation`] | an incarnation as it travels |
//! | [`client`] | the client protocol: the crate's types as they travel |
//! | [`status`] | the status of a ledger and of its members, as it travels |

pub(crate) mod client;
pub(crate) mod incarnation;
pub(crate) mod pb;
pub(crate) mod refusal;
pub(crate) mod status;
pub(crate) mod version;

pub(crate) use incarnation::incarnation_bytes;
pub(crate) use refusal::refusal;
