//! Finds the smallest schedule that still fails: delta debugging.

use super::schedule::{Schedule, Step};

/// The smallest schedule found that still fails, and how often it was tried.
///
/// `fails` is asked at most `most` times. It must be so that `fails` holds of `schedule`.
pub fn shrink(schedule: &Schedule, most: usize, mut fails: impl FnMut(&Schedule) -> bool) -> (Schedule, usize) {
    let (mut smallest, mut pieces, mut tried) = (schedule.0.clone(), 2, 0);
    while !smallest.is_empty() && tried < most {
        let size = smallest.len().div_ceil(pieces);
        // Each time without one of the pieces.
        let without = |skipped: usize| -> Vec<Step> {
            let kept = smallest.chunks(size).enumerate().filter(|(n, _)| *n != skipped);
            kept.flat_map(|(_, steps)| steps.to_vec()).collect()
        };
        let mut found = None;
        for skipped in 0..smallest.len().div_ceil(size) {
            if tried == most {
                break;
            }
            tried += 1;
            let candidate = Schedule(without(skipped));
            if fails(&candidate) {
                found = Some(candidate.0);
                break;
            }
        }
        match found {
            Some(less) => (smallest, pieces) = (less, (pieces - 1).max(2)),
            None if size == 1 => break,
            None => pieces = (pieces * 2).min(smallest.len()),
        }
    }
    (Schedule(smallest), tried)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan;

    #[test]
    fn what_does_not_matter_goes() {
        let schedule = Schedule::draw(3, &plan::PARTITIONS);
        let needed = [schedule.0[2].clone(), schedule.0[7].clone()];
        let fails = |candidate: &Schedule| needed.iter().all(|step| candidate.0.contains(step));
        let (smallest, tried) = shrink(&schedule, 100, fails);
        assert_eq!(smallest.0, needed);
        assert!(tried < 40, "{tried}");
        // Cut short, it is what was found so far.
        let (some, tried) = shrink(&schedule, 3, fails);
        assert!(fails(&some) && tried == 3);
        // What fails without anything is nobody's fault.
        assert_eq!(shrink(&schedule, 100, |_| true).0.0, []);
    }
}
