//! What may be removed, and when.

use std::time::Duration;

use super::{Config, ConfigError, refused};

/// Which records may be removed when. Whole segments go, oldest first; never one that is written to, never what is not
/// committed.
///
/// Each node removes by itself, so the logs of two nodes need not begin at the same record. The limits on age and size
/// hold always. The three ratios are parts of the disk in use, as DLedger has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// A segment may go when its last record is older than this. The node ends the segment that it writes to when the
    /// first record in it is older, so records go after once to twice this time, even if the ledger is idle. `None`:
    /// age is no reason.
    pub max_age: Option<Duration>,
    /// The oldest segment may go when all segment files together have more bytes than this. `None`: size is no reason.
    pub max_bytes: Option<u64>,
    /// Above this the node says that the disk fills up. Default 0.70.
    pub check: f64,
    /// Above this the oldest segments go, however young, until the part in use is below this again. Default 0.85.
    pub force: f64,
    /// A segment file that would leave more than this in use is not made: appends are refused once there is no room
    /// in those there are. Default 0.90.
    pub refuse: f64,
    /// How often a node checks these limits, about; it also does so whenever a segment is full. From 10 ms to a day,
    /// default 10 s.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: None, max_bytes: None, check: 0.70, force: 0.85, refuse: 0.90, every: Duration::from_secs(10) }
    }
}

impl Retention {
    /// Checks that `0 < check ≤ force ≤ refuse ≤ 1`, that a limit is not zero, and the bounds of `every`.
    ///
    /// # Errors
    /// The first value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { check, force, refuse, .. } = *self;
        let ratio = |key, ratio: f64, low: f64, expected: String| {
            let fits = ratio > 0.0 && ratio >= low && ratio <= 1.0;
            if fits { Ok(()) } else { refused(key, ratio, expected) }
        };
        ratio("retention.check", check, 0.0, "above 0, at most 1".into())?;
        ratio("retention.force", force, check, format!("from check ({check}) to 1"))?;
        ratio("retention.refuse", refuse, force, format!("from force ({force}) to 1"))?;
        if self.max_age.is_some_and(|age| age.is_zero()) {
            return refused("retention.max_age", "0", "a time above 0, or none");
        }
        if self.max_bytes == Some(0) {
            return refused("retention.max_bytes", 0, "a size above 0, or none");
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(86_400)).contains(&self.every) {
            return refused("retention.every", format!("{:?}", self.every), "from 10 ms to a day");
        }
        Ok(())
    }
}

impl Config {
    pub(super) fn check_retention(&self) -> Result<(), ConfigError> {
        let Some(retention) = &self.retention else { return Ok(()) };
        retention.validate()?;
        match retention.max_bytes {
            Some(most) if most < self.segment_size => {
                let expected = format!(
                    "at least a segment ({}): whole segments go, and never the one that is written to",
                    self.segment_size
                );
                refused("retention.max_bytes", most, expected)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::key;
    use super::*;

    #[test]
    fn ratios_rise_from_above_zero_to_at_most_one() {
        let key = |check, force, refuse| {
            let error = Retention { check, force, refuse, ..Retention::default() }.validate().err()?;
            assert!(error.to_string().starts_with(error.key), "{error}");
            Some(error.key)
        };
        assert_eq!(Retention::default().validate(), Ok(()));
        assert_eq!(key(0.5, 0.5, 0.5), None);
        assert_eq!(key(1.0, 1.0, 1.0), None);
        assert_eq!(key(0.0, 0.5, 0.5), Some("retention.check"));
        assert_eq!(key(-0.1, 0.5, 0.5), Some("retention.check"));
        assert_eq!(key(f64::NAN, 0.5, 0.5), Some("retention.check"));
        assert_eq!(key(0.5, 0.4, 0.5), Some("retention.force"));
        assert_eq!(key(0.5, f64::NAN, 0.5), Some("retention.force"));
        assert_eq!(key(0.5, 0.6, 0.5), Some("retention.refuse"));
        assert_eq!(key(0.5, 0.6, 1.1), Some("retention.refuse"));
        assert_eq!(key(0.5, 0.6, f64::INFINITY), Some("retention.refuse"));
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        let age = Retention { max_age: Some(Duration::ZERO), ..Retention::default() };
        assert_eq!(age.validate().unwrap_err().key, "retention.max_age");
        let bytes = Retention { max_bytes: Some(0), ..Retention::default() };
        assert_eq!(bytes.validate().unwrap_err().key, "retention.max_bytes");
        for every in [Duration::ZERO, Duration::from_secs(86_401)] {
            let every = Retention { every, ..Retention::default() };
            assert_eq!(every.validate().unwrap_err().key, "retention.every");
        }
    }

    #[test]
    fn retention_is_checked_with_the_rest() {
        assert_eq!(key(|c| c.retention = Some(Retention::default())), None);
        let wrong = Retention { check: 0.9, force: 0.8, ..Retention::default() };
        assert_eq!(key(|c| c.retention = Some(wrong)), Some("retention.force"));
        let of = |bytes| Retention { max_bytes: Some(bytes), ..Retention::default() };
        assert_eq!(key(|c| c.retention = Some(of(c.segment_size))), None);
        assert_eq!(key(|c| c.retention = Some(of(c.segment_size - 1))), Some("retention.max_bytes"));
    }
}
