//! Durations in what people read.

use std::fmt;
use std::time::Duration;

/// A duration for messages: as exact as anybody acts upon, and never `4.0µs`.
pub(crate) fn in_words(duration: Duration) -> impl fmt::Display {
    InWords(duration)
}

struct InWords(Duration);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("less than 1 ms"),
            millis @ 1..1000 => write!(f, "{millis} ms"),
            millis @ 1000..60_000 if millis % 1000 >= 100 => write!(f, "{}.{} s", millis / 1000, millis % 1000 / 100),
            millis => write!(f, "{} s", millis / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_units_that_people_read() {
        let told = |micros| in_words(Duration::from_micros(micros)).to_string();
        assert_eq!([0, 4, 999].map(told), ["less than 1 ms"; 3]);
        assert_eq!([1000, 250_900, 999_999].map(told), ["1 ms", "250 ms", "999 ms"]);
        assert_eq!([1_000_000, 1_540_000, 10_020_000].map(told), ["1 s", "1.5 s", "10 s"]);
        assert_eq!([60_000_000, 3_600_700_000].map(told), ["60 s", "3600 s"]);
    }
}
