//! What a client knows of its cluster.
//!
//! | file | what it is |
//! |---|---|
//! | `topology` | the nodes there are, connections to them, and who is master |
//! | `identities` | of which cluster each node is, and which one is the client's own |
//! | `connections` | what calls and streams to one node travel over |
//! | `search` | finds the master |
//! | `last_replies` | what each node last said, told when a call ends without what it was after |

pub(super) mod connections;
mod identities;
mod last_replies;
pub(super) mod search;
pub(super) mod topology;
