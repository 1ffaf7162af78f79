//! Pauses between the tries of a call.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Shortest pause. Short, so that a client finds a newly elected master soon.
const FIRST: Duration = Duration::from_millis(25);
/// Longest pause. Long enough that many clients which wait for a cluster do not keep it from coming up.
const LONGEST: Duration = Duration::from_secs(1);
/// A pause is at most this part of the time waited so far, so that pauses delay finding a master by a sixth at most.
const PART: u32 = 6;

/// The pause before the next try of what has been tried in vain for `waited`. It grows with `waited`, and is random, so
/// that clients which lost the same master do not come back all at once.
pub(super) fn pause(waited: Duration) -> Duration {
    let longest = (waited / PART).clamp(FIRST * 2, LONGEST);
    longest.mul_f64(0.5 + 0.5 * random())
}

/// Waits before the next try of what has been tried in vain since `since`; no longer than until `deadline`. `false` if
/// there is no time for another try.
pub(super) async fn paused(since: Instant, deadline: Instant) -> bool {
    let again = Instant::now() + pause(since.elapsed());
    sleep_until(again.min(deadline)).await;
    again < deadline
}

/// From 0 to 1.
fn random() -> f64 {
    // Every `RandomState` has keys of its own, which come from the system's random numbers.
    f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often somebody tries in so long.
    fn tries(within: Duration) -> usize {
        let mut waited = Duration::ZERO;
        std::iter::from_fn(|| {
            waited += pause(waited);
            (waited < within).then_some(())
        })
        .count()
    }

    #[test]
    fn pauses_begin_short_grow_to_a_second_and_differ() {
        for waited in [Duration::ZERO, Duration::from_millis(150), Duration::from_secs(5), Duration::MAX] {
            let pauses: Vec<_> = (0..64).map(|_| pause(waited)).collect();
            assert!(pauses.iter().all(|pause| (FIRST..=LONGEST).contains(pause)), "{waited:?}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{waited:?}: {pauses:?}");
        }
        assert!(pause(Duration::ZERO) <= FIRST * 2);
        assert!(pause(Duration::MAX) >= LONGEST / 2);
        // While an election may take, it is often; 25 ms for ever would be 40 and 2400.
        assert!(tries(Duration::from_secs(1)) >= 8);
        assert!(tries(Duration::from_secs(60)) <= 150);
    }
}
