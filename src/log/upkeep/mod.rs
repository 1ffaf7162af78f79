//! What keeps a log small and good.
//!
//! | file | what it is |
//! |---|---|
//! | [`age`] | how old segments are, as far as the clock can be believed |
//! | [`health`] | [`Health`](health::Health): the damage known in sealed segments |
//! | [`purge`] | purge and reset: what moves the start of the log |
//! | [`recheck`] | checks entries again after a peer refused them as damaged |
//! | [`repair`] | repairs damaged segments with the entries of another replica |
//! | [`retention`] | which segments may go, and why |
//! | [`rolling`] | whether the active segment should end because of its records' age |
//! | [`scrub`] | reads all sealed segments |

pub(crate) mod age;
pub(crate) mod health;
pub(crate) mod purge;
pub(crate) mod recheck;
pub(crate) mod repair;
pub(crate) mod retention;
pub(crate) mod rolling;
pub(crate) mod scrub;
