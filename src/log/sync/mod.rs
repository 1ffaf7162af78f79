//! Group commit.
//!
//! | file | what it is |
//! |---|---|
//! | [`flush`] | what waits for a sync, and one pass over it |
//! | [`threads`] | the threads that run the passes and slow file work |

pub(crate) mod flush;
pub(crate) mod threads;
