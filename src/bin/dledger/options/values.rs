//! Times and sizes, the way they are written.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use dledger::{Durability, Group, RepairPolicy};
use serde::{Deserialize, Deserializer, de};

/// The interval of `--durability interval`: the longest time by which a sync may follow its ack.
pub(super) const INTERVAL: Duration = Duration::from_millis(10);

/// A time.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is no time: write it like 500ms, 10s or 72h"))
}

/// How long something may take: more than no time at all.
pub(crate) fn time_above_zero(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("no answer comes in no time: write a time above zero, like 500ms or 10s".into()),
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

/// Yes or no, as it is written in files of variables.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "on" | "true" => Ok(true),
        "0" | "no" | "off" | "false" => Ok(false),
        _ => Err("write 1, yes, on or true, or else 0, no, off or false".into()),
    }
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text.split_once(':') {
        None if text == "sync" => Ok(Durability::Sync),
        None if text == "interval" => Ok(Durability::Interval(INTERVAL)),
        Some(("interval", every)) => match humantime::parse_duration(every) {
            Ok(every) => Ok(Durability::Interval(every)),
            Err(_) => Err(format!("{every:?} is no time: write `interval:10ms`")),
        },
        _ => Err(format!("{text:?} is no durability: write `sync`, `interval` or `interval:10ms`")),
    }
}

pub(super) fn durability_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Durability>, D::Error> {
    durability(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

/// Text, or the number 0.
pub(super) fn wait_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a time like \"30s\", or 0")]
    enum Time {
        Number(u64),
        Text(String),
    }
    let text = match Time::deserialize(value)? {
        Time::Number(number) => number.to_string(),
        Time::Text(text) => text,
    };
    time_or_zero(&text).map(Some).map_err(de::Error::custom)
}

pub(super) fn repair(text: &str) -> Result<RepairPolicy, String> {
    match text {
        "refuse" => Ok(RepairPolicy::Refuse),
        "from-peers" => Ok(RepairPolicy::FromPeers),
        _ => Err(format!("{text:?} is no way to deal with damage: write `refuse` or `from-peers`")),
    }
}

pub(super) fn repair_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<RepairPolicy>, D::Error> {
    repair(&String::deserialize(value)?).map(Some).map_err(de::Error::custom)
}

/// Bytes as a number, or as text with a unit.
pub(super) fn size_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<ByteSize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size: bytes as a number, or text like \"256MiB\"")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(value)? {
        Size::Bytes(bytes) => Ok(Some(ByteSize(bytes))),
        Size::Text(text) => size(&text).map(Some).map_err(de::Error::custom),
    }
}

pub(super) fn one_or_many<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Group>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a group name or an array of them")]
    enum Groups {
        One(String),
        Many(Vec<String>),
    }
    let names = match Groups::deserialize(value)? {
        Groups::One(name) => vec![name],
        Groups::Many(names) => names,
    };
    names.iter().map(|name| name.parse().map_err(de::Error::custom)).collect()
}

/// A time as text, for TOML.
pub(super) fn time_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    time(&text).map(Some).map_err(de::Error::custom)
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
