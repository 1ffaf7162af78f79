//! The size of a segment, and what follows from it.

use super::{Config, ConfigError, refused};

/// Smallest segment size, bytes.
pub const MIN_SEGMENT_SIZE: u64 = 64 * 1024;
/// Largest segment size, bytes: offsets within a segment are 32 bits wide.
pub const MAX_SEGMENT_SIZE: u64 = 2 * 1024 * 1024 * 1024;
/// Largest record by default, bytes.
pub(super) const DEFAULT_MAX_RECORD_BYTES: usize = 4 << 20;
/// Largest batch by default, bytes.
pub(super) const DEFAULT_MAX_BATCH_BYTES: usize = 8 << 20;

impl Config {
    /// Sets the size of a segment, and lowers the defaults that would not fit into one: the largest batch to half a
    /// segment, the largest record to the largest batch. Limits that were set by hand stay;
    /// [`Config::validate`] refuses those that do not fit.
    pub fn set_segment_size(&mut self, bytes: u64) {
        self.segment_size = bytes;
        let half = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        if self.max_batch_bytes == DEFAULT_MAX_BATCH_BYTES {
            self.max_batch_bytes = self.max_batch_bytes.min(half);
        }
        if self.max_record_bytes == DEFAULT_MAX_RECORD_BYTES {
            self.max_record_bytes = self.max_record_bytes.min(self.max_batch_bytes);
        }
    }

    pub(super) fn check_sizes(&self) -> Result<(), ConfigError> {
        if !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&self.segment_size)
            || !self.segment_size.is_multiple_of(4096)
        {
            let expected = format!("a multiple of 4096 from {MIN_SEGMENT_SIZE} to {MAX_SEGMENT_SIZE} bytes");
            return refused("segment_size", self.segment_size, expected);
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > self.max_batch_bytes {
            let expected = format!("from 1 to max_batch_bytes ({})", self.max_batch_bytes);
            return refused("max_record_bytes", self.max_record_bytes, expected);
        }
        // An entry never crosses a segment: the largest batch, its table and the headers must fit into one.
        if self.max_batch_bytes as u64 > self.segment_size / 2 {
            let expected = format!("at most half a segment ({})", self.segment_size / 2);
            return refused("max_batch_bytes", self.max_batch_bytes, expected);
        }
        if self.max_inflight_bytes < self.max_batch_bytes || self.max_inflight_bytes > u32::MAX as usize {
            let expected = format!("from max_batch_bytes ({}) to {}", self.max_batch_bytes, u32::MAX);
            return refused("max_inflight_bytes", self.max_inflight_bytes, expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::{key, valid};
    use super::*;

    #[test]
    fn every_segment_size_that_may_be_is_enough_of_a_choice() {
        for size in [MIN_SEGMENT_SIZE, 1 << 20, 8 << 20, 16 << 20, 256 << 20, MAX_SEGMENT_SIZE] {
            let mut config = valid();
            config.set_segment_size(size);
            assert_eq!(config.validate(), Ok(()), "segments of {size} bytes");
            assert!(config.max_batch_bytes as u64 <= size / 2 && config.max_record_bytes <= config.max_batch_bytes);
        }
    }

    #[test]
    fn what_was_chosen_by_hand_stays_and_is_refused_where_it_does_not_fit() {
        let mut chosen = valid();
        (chosen.max_record_bytes, chosen.max_batch_bytes) = (1 << 20, 2 << 20);
        chosen.set_segment_size(1 << 20);
        assert_eq!((chosen.max_record_bytes, chosen.max_batch_bytes), (1 << 20, 2 << 20));
        assert_eq!(chosen.validate().map_err(|error| error.key), Err("max_batch_bytes"));
    }

    #[test]
    fn the_segment_size_is_bounded_and_whole_pages() {
        let small = |c: &mut Config| (c.max_record_bytes, c.max_batch_bytes) = (1, 1);
        for (size, expected) in [
            (MIN_SEGMENT_SIZE, None),
            (MAX_SEGMENT_SIZE, None),
            (MIN_SEGMENT_SIZE - 4096, Some("segment_size")),
            (MAX_SEGMENT_SIZE + 4096, Some("segment_size")),
            (MIN_SEGMENT_SIZE + 1, Some("segment_size")),
            (0, Some("segment_size")),
            (u64::MAX, Some("segment_size")),
        ] {
            let change = |c: &mut Config| {
                small(c);
                c.segment_size = size;
            };
            assert_eq!(key(change), expected, "{size}");
        }
    }

    #[test]
    fn record_batch_and_in_flight_bytes_fit_into_each_other() {
        assert_eq!(key(|c| c.max_record_bytes = 0), Some("max_record_bytes"));
        assert_eq!(key(|c| c.max_record_bytes = 1), None);
        assert_eq!(key(|c| c.max_record_bytes = c.max_batch_bytes), None);
        assert_eq!(key(|c| c.max_record_bytes = c.max_batch_bytes + 1), Some("max_record_bytes"));
        assert_eq!(key(|c| c.segment_size = 2 * c.max_batch_bytes as u64), None);
        assert_eq!(key(|c| c.segment_size = 2 * c.max_batch_bytes as u64 - 4096), Some("max_batch_bytes"));
        assert_eq!(key(|c| c.max_inflight_bytes = c.max_batch_bytes), None);
        assert_eq!(key(|c| c.max_inflight_bytes = c.max_batch_bytes - 1), Some("max_inflight_bytes"));
        assert_eq!(key(|c| c.max_inflight_bytes = u32::MAX as usize), None);
        assert_eq!(key(|c| c.max_inflight_bytes = u32::MAX as usize + 1), Some("max_inflight_bytes"));
    }
}
