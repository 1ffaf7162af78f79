//! Durations in words.

use std::fmt;
use std::time::Duration;

/// A duration for people to read: as exact as anybody acts upon, and never `4.0µs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, tenths) = (self.0.as_secs(), self.0.subsec_millis() / 100);
        match seconds {
            0 if self.0.as_millis() == 0 => f.write_str("less than 1 ms"),
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..60 if tenths > 0 => write!(f, "{seconds}.{tenths} s"),
            1..120 => write!(f, "{seconds} s"),
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
        let told = |micros: u64| Span(Duration::from_micros(micros)).to_string();
        assert_eq!([0, 4, 999].map(told), ["less than 1 ms"; 3]);
        assert_eq!([1000, 250_900, 999_999].map(told), ["1 ms", "250 ms", "999 ms"]);
        assert_eq!([1_000_000, 1_540_000, 12_900_000, 59_090_000].map(told), ["1 s", "1.5 s", "12.9 s", "59 s"]);
        let told = |seconds: u64| Span(Duration::from_secs(seconds)).to_string();
        assert_eq!([60, 119, 3000, 90_000, 172_800].map(told), ["60 s", "119 s", "50 min", "25 h", "2 days"]);
    }
}
