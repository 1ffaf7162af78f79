//! What keeps a log small and good.
//!
//! | file | what it is |
//! |---|---|
//! | [`age`] | how old segments are, as far as the clock can be believed |
//! | [`health`] | [`Health`](health::Health): what is known to be damaged |
//! | [`purge`] | purge and reset: what moves the start of the log |
//! | [`recheck`] | checks entries again that a peer refuses as damaged |
//! | [`repair`] | getting damaged segments back from another replica |
//! | [`retention`] | which segments may go, and why |
//! | [`rolling`] | whether the active segment is to end because of its age |
//! | [`scrub`] | reads all sealed segments |

pub(crate) mod age;
pub(crate) mod health;
pub(crate) mod purge;
pub(crate) mod recheck;
pub(crate) mod repair;
pub(crate) mod retention;
pub(crate) mod rolling;
pub(crate) mod scrub;
