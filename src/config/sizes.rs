//! The size of a segment, and what follows from it.

use super::{Config, DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_RECORD_BYTES};

impl Config {
    /// Chooses the size of a segment, and what must fit into one: the largest batch becomes half a segment and the
    /// largest record no larger, where they are larger than that and still at their defaults. What was chosen by hand
    /// stays, and is refused where it does not fit ([`Config::validate`]).
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
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE};
    use super::*;
    use crate::types::NodeId;

    fn config() -> Config {
        Config { groups: vec!["g".parse().unwrap()], ..Config::new(NodeId::new(0), "127.0.0.1:0") }
    }

    #[test]
    fn every_segment_size_that_may_be_is_enough_of_a_choice() {
        for size in [MIN_SEGMENT_SIZE, 1 << 20, 8 << 20, 16 << 20, 256 << 20, MAX_SEGMENT_SIZE] {
            let mut config = config();
            config.set_segment_size(size);
            assert_eq!(config.validate(), Ok(()), "segments of {size} bytes");
            assert!(config.max_batch_bytes as u64 <= size / 2 && config.max_record_bytes <= config.max_batch_bytes);
        }
    }

    #[test]
    fn what_was_chosen_by_hand_stays_and_is_refused_where_it_does_not_fit() {
        let mut chosen = config();
        (chosen.max_record_bytes, chosen.max_batch_bytes) = (1 << 20, 2 << 20);
        chosen.set_segment_size(1 << 20);
        assert_eq!((chosen.max_record_bytes, chosen.max_batch_bytes), (1 << 20, 2 << 20));
        assert_eq!(chosen.validate().map_err(|error| error.key), Err("max_batch_bytes"));
    }
}
