//! The laws of retention, as a function and on a log.
