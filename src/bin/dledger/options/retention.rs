//! The retention of a node, from flags, environment and TOML alike.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use dledger::Retention;
use serde::Deserialize;

use super::values::{ratio, size, size_text, time, time_text};

/// When records are removed. Without any of these options, none are.
#[derive(Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct RetentionOptions {
    /// Remove a segment when its last record is older than this, like `72h`. The segment that is written to ends when
    /// its first record is.
    #[arg(long, env = "DLEDGER_RETENTION_AGE", value_parser = time, value_name = "TIME")]
    #[serde(deserialize_with = "time_text")]
    retention_age: Option<Duration>,
    /// Remove a ledger's oldest segment when its segments together are larger than this, like `64GiB`.
    #[arg(long, env = "DLEDGER_RETENTION_SIZE", value_name = "SIZE", value_parser = size)]
    #[serde(deserialize_with = "size_text")]
    retention_size: Option<ByteSize>,
    /// Warn when more than this part of the disk is in use. Default 0.7 (70 %), if any retention is set.
    #[arg(long, env = "DLEDGER_RETENTION_CHECK", value_name = "RATIO", value_parser = ratio)]
    retention_check: Option<f64>,
    /// Remove the oldest segments, however young, when more than this part of the disk is in use. Default 0.85, if
    /// any retention is set.
    #[arg(long, env = "DLEDGER_RETENTION_FORCE", value_name = "RATIO", value_parser = ratio)]
    retention_force: Option<f64>,
    /// Make no segment that would leave more than this part of the disk in use. Default 0.9, if any retention is set.
    #[arg(long, env = "DLEDGER_RETENTION_REFUSE", value_name = "RATIO", value_parser = ratio)]
    retention_refuse: Option<f64>,
    /// How often the node applies these limits; it also does when a segment is full. Default 10s.
    #[arg(long, env = "DLEDGER_RETENTION_EVERY", value_parser = time, value_name = "TIME")]
    #[serde(deserialize_with = "time_text")]
    retention_every: Option<Duration>,
}

impl RetentionOptions {
    /// These options; where one is missing, that of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            retention_age: self.retention_age.or(other.retention_age),
            retention_size: self.retention_size.or(other.retention_size),
            retention_check: self.retention_check.or(other.retention_check),
            retention_force: self.retention_force.or(other.retention_force),
            retention_refuse: self.retention_refuse.or(other.retention_refuse),
            retention_every: self.retention_every.or(other.retention_every),
        }
    }

    /// `None` if none of the options is given.
    pub(crate) fn into_retention(self) -> Option<Retention> {
        if self == Self::default() {
            return None;
        }
        let usual = Retention::default();
        Some(Retention {
            max_age: self.retention_age,
            max_bytes: self.retention_size.map(|size| size.as_u64()),
            check: self.retention_check.unwrap_or(usual.check),
            force: self.retention_force.unwrap_or(usual.force),
            refuse: self.retention_refuse.unwrap_or(usual.refuse),
            every: self.retention_every.unwrap_or(usual.every),
        })
    }
}
