//! Times in words.

use std::fmt;
use std::time::Duration;

/// A time as it is told to people: as exact as it is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.is_zero() => f.write_str("0 s"),
            0 => write!(f, "{} ms", self.0.as_millis().max(1)),
            1..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", seconds / 60),
            7200..172_800 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_exactly_as_it_is_long() {
        let told = |millis: u64| Span(Duration::from_millis(millis)).to_string();
        assert_eq!([told(0), told(250), told(1500), told(12_900)], ["0 s", "250 ms", "1.5 s", "12 s"]);
        assert_eq!([told(119_000), told(3_000_000), told(90_000_000)], ["119 s", "50 min", "25 h"]);
        assert_eq!([told(172_800_000), Span(Duration::from_nanos(4)).to_string()], ["2 days", "1 ms"]);
    }
}
