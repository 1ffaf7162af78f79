//! When a hand-over that failed, or did not last, is tried again.

use std::time::Duration;

/// How often the task asks whether anybody is fit to take over, and how long it waits after a first attempt: what
/// failed once would fail again, and the cluster would do nothing else.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// Most that the pause, which doubles with every attempt, grows to.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// When the next attempt is due.
#[derive(Debug, Default)]
pub(super) struct RetryPause {
    /// When the last attempt was, and the pause behind it.
    last: Option<(Duration, Duration)>,
    /// When the task last looked for anybody fit.
    looked: Option<Duration>,
    /// When the leadership last came back from where it was handed to.
    returned: Option<Duration>,
}

impl RetryPause {
    /// Whether the task should look for anybody fit now. If so, it counts as having looked.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let over = |since: Duration, pause: Duration| now.saturating_sub(since) >= pause;
        let looks = self.last.is_none_or(|(last, pause)| over(last, pause))
            && self.looked.is_none_or(|looked| over(looked, PAUSE));
        if looks {
            self.looked = Some(now);
        }
        looks
    }

    /// The leadership came back. Once may be a restart; when it comes back again, the pause grows sixfold, far more
    /// than after a mere failure.
    pub(super) fn came_back(&mut self, now: Duration) {
        let again = self.returned.replace(now).is_some_and(|last| now.saturating_sub(last) < LONGEST_PAUSE * 2);
        if !again {
            return;
        }
        let pause = self.last.map_or(PAUSE, |(_, pause)| pause);
        self.last = Some((now, (pause * 6).min(LONGEST_PAUSE)));
    }

    /// The task hands over now.
    pub(super) fn tried(&mut self, now: Duration) {
        let pause = match self.last {
            // A hand-over that lasted six pauses did not fail.
            Some((last, pause)) if now.saturating_sub(last) < pause * 6 => (pause * 2).min(LONGEST_PAUSE),
            _ => PAUSE,
        };
        self.last = Some((now, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which the task looks for anybody fit; with `found`, it tries each time.
    fn looks(pause: &mut RetryPause, seconds: std::ops::Range<u64>, found: bool) -> Vec<u64> {
        let mut looks = Vec::new();
        for second in seconds {
            let now = Duration::from_secs(second);
            if pause.is_due(now) {
                looks.push(second);
                if found {
                    pause.tried(now);
                }
            }
        }
        looks
    }

    #[test]
    fn a_preferred_node_that_cannot_win_is_tried_with_growing_pauses() {
        let mut pause = RetryPause::default();
        assert_eq!(looks(&mut pause, 0..2000, true), [0, 10, 30, 70, 150, 310, 630, 1230, 1830]);
        // The preferred node led for an hour in between.
        assert_eq!(looks(&mut pause, 5500..5525, true), [5500, 5510]);
    }

    #[test]
    fn a_pause_grows_with_what_was_tried_and_not_with_what_was_looked_for() {
        let mut pause = RetryPause::default();
        assert_eq!(looks(&mut pause, 0..55, false), [0, 10, 20, 30, 40, 50]);
        assert_eq!(looks(&mut pause, 60..100, true), [60, 70, 90]);
        // Nobody is fit when the last pause is over.
        assert_eq!(looks(&mut pause, 100..165, false), [130, 140, 150, 160]);
    }

    #[test]
    fn a_leadership_that_came_back_is_left_alone_for_longer_every_time() {
        let mut pause = RetryPause::default();
        let mut handed_to = 0;
        // Handed over whenever that is due, and back three seconds later.
        for second in (0..3000).map(Duration::from_secs) {
            if pause.is_due(second) {
                pause.tried(second);
                pause.came_back(second + Duration::from_secs(3));
                handed_to += 1;
            }
        }
        assert!(handed_to <= 8, "{handed_to} times in 50 minutes");
    }
}
