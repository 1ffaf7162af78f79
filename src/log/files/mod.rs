//! The files in a ledger's directory beside the segments.
//!
//! | file | what it is |
//! |---|---|
//! | [`ballast`] | blocks set aside so that the start of the log can be recorded on a full disk |
//! | [`call_timer`] | how long a call to the disk has been under way |
//! | [`directory`] | [`Directory`](directory::Directory): the identity file, the lock, and paths |
//! | [`failure`] | why the log takes no further write |
//! | [`hard_state`] | the vote and commit slots on disk |
//! | [`log_files`] | [`LogFiles`](log_files::LogFiles): what every part of a log needs of its files |
//! | [`names`] | the names of all files |
//! | [`start_file`] | where the log begins |
//! | [`unsynced_names`] | file names that processes see and the disk may lack |

pub(crate) mod ballast;
pub(crate) mod call_timer;
pub(crate) mod directory;
pub(crate) mod failure;
pub(crate) mod hard_state;
pub(crate) mod log_files;
pub(crate) mod names;
pub(crate) mod start_file;
pub(crate) mod unsynced_names;
