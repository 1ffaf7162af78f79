//! Times and sizes, the way they are written.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// A time.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is no time: write it like 500ms, 10s or 72h"))
}

/// A time that something may take: none at all is of no use.
pub(crate) fn time_above_zero(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("nothing is done in no time: write a time like 500ms or 10s".into()),
        time => Ok(time),
    }
}

/// A time; a zero needs no unit.
pub(crate) fn time_or_zero(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        _ => humantime::parse_duration(text).map_err(|_| format!("{text:?} is no time: write it like \"30s\", or 0")),
    }
}

/// Bytes, with or without a unit.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::from_str(text).map_err(|_| format!("{text:?} is no size: write it like \"256MiB\""))
}

/// A part of one.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no part of 1: write it like 0.85"))
}

/// How many.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no count: write a number like 1024"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_how_it_is_written() {
        for text in ["banana", "", "10", "-1s"] {
            assert!(time(text).unwrap_err().ends_with("like 500ms, 10s or 72h"), "{text}");
        }
        assert_eq!((time("2m"), time("0s")), (Ok(Duration::from_secs(120)), Ok(Duration::ZERO)));
        assert!(time_above_zero("0s").unwrap_err().contains("like 500ms"));
        assert!(time_above_zero("0").is_err() && time_above_zero("1ms").is_ok());
        assert_eq!(time_or_zero("0"), Ok(Duration::ZERO));
        assert!(size("big").unwrap_err().ends_with("like \"256MiB\"") && size("1KiB") == Ok(ByteSize(1024)));
        assert!(ratio("a").unwrap_err().ends_with("like 0.85") && ratio("0.5") == Ok(0.5));
        assert!(count("-1").unwrap_err().ends_with("like 1024") && count("8") == Ok(8));
    }
}
