//! Memberships as bytes, their changes, and what members have acknowledged.
//!
//! | file | what it is |
//! |---|---|
//! | [`codec`] | memberships as bytes |
//! | [`view`] | the members as this node sees them, and what a change would make of them |
//! | [`change`] | changes of the membership, with what guards them |
//! | [`acks`] | what members have acknowledged to this leader, and which of them came back with less |

pub(crate) mod acks;
pub(crate) mod change;
pub(crate) mod codec;
pub(crate) mod view;
