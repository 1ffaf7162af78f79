//! Numbers and texts as people read them.

/// `12 345 678`, with narrow spaces.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 record`, `2 records`.
pub(super) fn many(number: u64, what: &str) -> String {
    format!("{}\u{a0}{what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Nanoseconds: `0 s`, `412 µs`, `3.2 ms`, `2.31 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(nanos: u64) -> String {
    let n = nanos as f64;
    match nanos {
        0 => "0\u{a0}s".to_owned(),
        1..1_000 => format!("{nanos}\u{a0}ns"),
        1_000..999_500 => format!("{:.0}\u{a0}µs", n / 1e3),
        999_500..99_950_000 => format!("{:.1}\u{a0}ms", n / 1e6),
        99_950_000..999_500_000 => format!("{:.0}\u{a0}ms", n / 1e6),
        999_500_000..59_950_000_000 => format!("{:.2}\u{a0}s", n / 1e9),
        _ => {
            let seconds = (n / 1e9).round() as u64;
            match seconds {
                0..3600 => format!("{}\u{a0}min {}\u{a0}s", seconds / 60, seconds % 60),
                _ => format!("{}\u{a0}h {}\u{a0}min", seconds / 3600, seconds % 3600 / 60),
            }
        }
    }
}

/// A moment of a history, in seconds: `12.345 678 s`, as the axis of the timeline has it.
pub(super) fn moment(nanos: u64) -> String {
    format!("{}.{:03}\u{202f}{:03}\u{a0}s", nanos / 1_000_000_000, nanos / 1_000_000 % 1000, nanos / 1000 % 1000)
}

/// At most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_durations_have_a_unit_of_their_size() {
        let plain = |text: String| text.replace(['\u{202f}', '\u{a0}'], " ");
        let counts = [(0, "0"), (999, "999"), (1000, "1 000"), (12_345_678, "12 345 678")];
        for (number, text) in counts {
            assert_eq!(plain(count(number)), text);
        }
        let durations = [
            (0, "0 s"),
            (17, "17 ns"),
            (412_000, "412 µs"),
            (999_500, "1.0 ms"),
            (99_949_999, "99.9 ms"),
            (250_000_000, "250 ms"),
            (2_310_000_000, "2.31 s"),
            (59_960_000_000, "1 min 0 s"),
            (200_000_000_000, "3 min 20 s"),
            (7_500_000_000_000, "2 h 5 min"),
        ];
        for (nanos, text) in durations {
            assert_eq!(plain(duration(nanos)), text, "{nanos}");
        }
        assert_eq!((plain(many(1, "call")), plain(many(2000, "call"))), ("1 call".into(), "2 000 calls".into()));
        assert_eq!((shortened("äöü", 2), shortened("äö", 2)), ("äö…".to_owned(), "äö".to_owned()));
    }
}
