//! What keeps a log small and good.
//!
//! | file | what it is |
//! |---|---|
//! | [`age`] | how old segments are, as far as the clock can be believed |
//! | [`recheck`] | looks again at entries that a peer refuses as damaged |
//! | [`repair`] | getting damaged segments back from another replica |
//! | [`retention`] | which segments may go, and why |
//! | [`rolling`] | whether the active segment is to end because of its age |
//! | [`scrub`] | reading all sealed segments, and what is known to be damaged |

pub(crate) mod age;
pub(crate) mod recheck;
pub(crate) mod repair;
pub(crate) mod retention;
pub(crate) mod rolling;
pub(crate) mod scrub;
