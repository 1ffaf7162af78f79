//! When this node may vote and stand, and how the leadership changes hands.
//!
//! | file | what it is |
//! |---|---|
//! | [`holdoff`] | keeps a node that has just started out of elections |
//! | [`lost_entries`] | what this node has acknowledged and does not have any more: it votes as if it had it |
//! | [`vote_saves`] | what saving votes costs, and how an election is won on slow disks |
//! | [`handover`] | handing the leadership over, and taking it back |

pub(crate) mod handover;
pub(crate) mod holdoff;
pub(crate) mod lost_entries;
pub(crate) mod vote_saves;
