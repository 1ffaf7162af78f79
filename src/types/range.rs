//! Ranges of numbers, as a caller writes them.

use std::ops::{Bound, RangeBounds};

/// A range as a caller writes it, half open: from `start` up to but without `end`. `None`: the range is open there, and
/// the log that holds the records supplies the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenRange {
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
}

impl OpenRange {
    pub(crate) fn new(range: &impl RangeBounds<u64>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(first) => Some(*first),
            Bound::Excluded(before) => Some(before.saturating_add(1)),
            Bound::Unbounded => None,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => Some(last.saturating_add(1)),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => None,
        };
        Self { start, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_range_is_half_open() {
        let of = |range: (Bound<u64>, Bound<u64>)| {
            let OpenRange { start, end } = OpenRange::new(&range);
            (start, end)
        };
        use Bound::{Excluded, Included, Unbounded};
        assert_eq!(of((Included(3), Included(5))), (Some(3), Some(6)));
        assert_eq!(of((Excluded(3), Excluded(5))), (Some(4), Some(5)));
        assert_eq!(of((Unbounded, Unbounded)), (None, None));
        assert_eq!(of((Excluded(u64::MAX), Included(u64::MAX))), (Some(u64::MAX), Some(u64::MAX)));
    }
}
