//! Group commit.
//!
//! | file | what it is |
//! |---|---|
//! | [`completion`] | [`Completion`](completion::Completion): tells its caller the outcome of a flush |
//! | [`flusher`] | [`Flusher`](flusher::Flusher): what waits for a sync, and one pass over it |
//! | [`threads`] | the threads that run the passes and slow file work |

pub(crate) mod completion;
pub(crate) mod flusher;
pub(crate) mod threads;
