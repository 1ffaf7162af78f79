//! Decodes one line of a history in one pass. It refuses what it does not know, so that nothing of a later format is
//! overlooked.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::value::MapAccessDeserializer};

use crate::{
    Acked, Answer, Begin, Call, ChainAt, Event, FORMAT, FaultEvent, FaultPhase, Hash, Item, NodeStatusEvent, Replica,
    What,
};
use dledger::Consistency;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventName {
    Begin,
    Invoke,
    Ok,
    Fail,
    Unknown,
    Seen,
    Status,
    Fault,
    Replica,
    Note,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CallName {
    Append,
    Get,
    Read,
    Tail,
    Members,
    Transfer,
    RemoveBelow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerName {
    Acked,
    Found,
    Absent,
    Removed,
    Done,
}

/// The fields that any line can have; which of them it must have and may have follows from what it is.
macro_rules! line {
    ($($field:ident: $type:ty,)*) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            at: u64,
            event: EventName,
            $(#[serde(default)] $field: Option<$type>,)*
        }

        impl Line {
            /// A field that no part of the event took: it has no place in such a line.
            fn left(&self) -> Option<&'static str> {
                $(if self.$field.is_some() { return Some(stringify!($field)); })*
                None
            }
        }
    };
}

line! {
    // Calls and answers.
    client: u64, op: u64, call: CallName, answer: AnswerName, error: String, session: u64, records: Records,
    index: u64, from: u64, count: u64, consistency: Consistency, change: String, to: String, acks: Vec<Acked>,
    // What a history is of.
    format: u32, run: String, seed: u64, replay: String, nodes: Vec<String>, retention: bool,
    // Nodes.
    node: String, start: u64, role: String, term: u64, first: u64, durable: u64, committed: u64, end: u64,
    chain: ChainAt,
    // Faults.
    fault: u64, kind: String, phase: FaultPhase, evidence: String,
    text: String,
}

/// The value of a field that this kind of line must have.
macro_rules! need {
    ($line:ident.$field:ident) => {
        $line.$field.take().ok_or(concat!("the field `", stringify!($field), "` is missing"))?
    };
}

impl Line {
    fn what(&mut self) -> Result<What, &'static str> {
        Ok(match self.event {
            EventName::Begin => What::Begin(Begin {
                format: need!(self.format),
                run: need!(self.run),
                seed: self.seed.take(),
                replay: self.replay.take(),
                nodes: need!(self.nodes),
                retention: self.retention.take().unwrap_or_default(),
            }),
            EventName::Invoke => What::Invoke { client: need!(self.client), op: need!(self.op), call: self.call()? },
            EventName::Ok => What::Ok { op: need!(self.op), answer: self.answer()? },
            EventName::Fail => What::Fail { op: need!(self.op), error: need!(self.error) },
            EventName::Unknown => What::Unknown { op: need!(self.op), error: need!(self.error) },
            EventName::Seen => What::Seen { op: need!(self.op), records: need!(self.records).items()? },
            EventName::Status => What::Status(NodeStatusEvent {
                node: need!(self.node),
                start: need!(self.start),
                role: need!(self.role),
                term: need!(self.term),
                first: need!(self.first),
                durable: need!(self.durable),
                committed: need!(self.committed),
                end: need!(self.end),
                chain: self.chain.take(),
            }),
            EventName::Fault => What::Fault(FaultEvent {
                fault: need!(self.fault),
                kind: need!(self.kind),
                nodes: need!(self.nodes),
                phase: need!(self.phase),
                evidence: self.evidence.take().unwrap_or_default(),
            }),
            EventName::Replica => What::Replica(Replica {
                node: need!(self.node),
                first: need!(self.first),
                end: need!(self.end),
                chain: self.chain.take(),
                records: need!(self.records).items()?,
            }),
            EventName::Note => What::Note { text: need!(self.text) },
        })
    }

    fn call(&mut self) -> Result<Call, &'static str> {
        Ok(match need!(self.call) {
            CallName::Append => Call::Append { records: need!(self.records).hashes()?, session: self.session.take() },
            CallName::Get => {
                Call::Get { index: need!(self.index), consistency: need!(self.consistency), node: self.node.take() }
            }
            CallName::Read => Call::Read {
                from: need!(self.from),
                count: need!(self.count),
                consistency: need!(self.consistency),
                node: self.node.take(),
            },
            CallName::Tail => Call::Tail { from: need!(self.from), node: self.node.take() },
            CallName::Members => Call::Members { change: need!(self.change) },
            CallName::Transfer => Call::Transfer { to: need!(self.to) },
            CallName::RemoveBelow => Call::RemoveBelow { index: need!(self.index), node: need!(self.node) },
        })
    }

    fn answer(&mut self) -> Result<Answer, &'static str> {
        Ok(match need!(self.answer) {
            AnswerName::Acked => Answer::Acked { acks: need!(self.acks) },
            AnswerName::Found => Answer::Found { records: need!(self.records).items()? },
            AnswerName::Absent => Answer::Absent { index: need!(self.index) },
            AnswerName::Removed => Answer::Removed { first: need!(self.first) },
            AnswerName::Done => Answer::Done,
        })
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut line = Line::deserialize(deserializer)?;
        let what = line.what().map_err(de::Error::custom)?;
        match line.left() {
            None => Ok(Event { at: line.at, what }),
            Some(field) => Err(de::Error::custom(format_args!("the field `{field}` has no place in it"))),
        }
    }
}

/// Hashes in an append, records with their place everywhere else.
#[derive(Default)]
struct Records {
    hashes: Vec<Hash>,
    items: Vec<Item>,
}

impl Records {
    fn hashes(self) -> Result<Vec<Hash>, &'static str> {
        match self.items.is_empty() {
            true => Ok(self.hashes),
            false => Err("an append has no records with indexes, only their hashes"),
        }
    }

    fn items(self) -> Result<Vec<Item>, &'static str> {
        match self.hashes.is_empty() {
            true => Ok(self.items),
            false => Err("a record has `index`, `position`, `term` and `hash`, and this one is a hash alone"),
        }
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Many;

        impl<'de> Visitor<'de> for Many {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hashes or of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
                let mut records = Records::default();
                while let Some(record) = list.next_element()? {
                    match record {
                        One::Hash(hash) => records.hashes.push(hash),
                        One::Item(item) => records.items.push(item),
                    }
                }
                Ok(records)
            }
        }

        deserializer.deserialize_seq(Many)
    }
}

/// A hash or a record, told apart by the first byte, so that nothing is buffered and parsed twice.
enum One {
    Hash(Hash),
    Item(Item),
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = One;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hash or a record")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<One, E> {
                text.parse().map(One::Hash).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<One, A::Error> {
                Item::deserialize(MapAccessDeserializer::new(map)).map(One::Item)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// What the first line says of its format, whatever else a later format may have.
pub(super) fn later_format(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct First {
        format: u64,
    }
    let first: First = serde_json::from_slice(line).ok()?;
    (first.format != u64::from(FORMAT)).then_some(first.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e";

    fn item() -> String {
        format!(r#"{{"index":3,"position":40,"term":2,"hash":"{HASH}"}}"#)
    }

    /// One of every kind of line.
    fn lines() -> Vec<String> {
        let item = item();
        let tails = [
            r#""event":"begin","format":1,"run":"r","seed":7,"replay":"x","nodes":["n0","n1"],"retention":true"#.into(),
            format!(r#""event":"invoke","client":1,"op":2,"call":"append","records":["{HASH}"],"session":4"#),
            r#""event":"invoke","client":1,"op":2,"call":"get","index":9,"consistency":"lease""#.into(),
            r#""event":"invoke","client":1,"op":2,"call":"read","from":0,"count":5,"consistency":"local","node":"n1""#
                .into(),
            r#""event":"invoke","client":1,"op":2,"call":"tail","from":0,"node":"n1""#.into(),
            r#""event":"invoke","client":1,"op":2,"call":"members","change":"add n3""#.into(),
            r#""event":"invoke","client":1,"op":2,"call":"transfer","to":"n1""#.into(),
            r#""event":"invoke","client":1,"op":2,"call":"remove_below","index":5,"node":"n1""#.into(),
            r#""event":"ok","op":2,"answer":"acked","acks":[{"index":3,"position":40,"term":2}]"#.into(),
            format!(r#""event":"ok","op":2,"answer":"found","records":[{item}]"#),
            r#""event":"ok","op":2,"answer":"absent","index":3"#.into(),
            r#""event":"ok","op":2,"answer":"removed","first":3"#.into(),
            r#""event":"ok","op":2,"answer":"done""#.into(),
            r#""event":"fail","op":2,"error":"refused""#.into(),
            r#""event":"unknown","op":2,"error":"timeout""#.into(),
            format!(r#""event":"seen","op":2,"records":[{item},{item}]"#),
            concat!(
                r#""event":"status","node":"n0","start":1,"role":"master","term":2,"first":0,"durable":3,"#,
                r#""committed":3,"end":4,"chain":{"position":40,"value":5}"#
            )
            .into(),
            r#""event":"fault","fault":1,"kind":"kill","nodes":["n0"],"phase":"observed","evidence":"gone""#.into(),
            format!(r#""event":"replica","node":"n0","first":0,"end":4,"records":[{item}]"#),
            r#""event":"note","text":"so it goes""#.into(),
        ];
        tails.into_iter().map(|tail| format!(r#"{{"at":5,{tail}}}"#)).collect()
    }

    #[test]
    fn every_line_is_read_as_it_was_written() {
        for line in lines() {
            let event: Event = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let event: Event = serde_json::from_str(r#"{"op":2,"error":"e","event":"fail","at":1}"#).unwrap();
        assert_eq!(event, Event { at: 1, what: What::Fail { op: 2, error: "e".into() } });
    }

    #[test]
    fn no_field_is_overlooked_and_none_may_lack() {
        for line in lines() {
            let later = line.replacen('{', r#"{"later":1,"#, 1);
            let error = serde_json::from_str::<Event>(&later).unwrap_err().to_string();
            assert!(error.contains("unknown field `later`"), "{later}: {error}");

            let field = if line.contains("\"note\"") { "evidence" } else { "text" };
            let misplaced = line.replacen('{', &format!(r#"{{"{field}":"x","#), 1);
            let error = serde_json::from_str::<Event>(&misplaced).unwrap_err().to_string();
            assert!(error.contains(&format!("the field `{field}` has no place in it")), "{misplaced}: {error}");

            // Without any one of its fields it is not the same line, and mostly none at all.
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            let may_lack = ["seed", "replay", "retention", "session", "node", "chain", "evidence"];
            for field in object.keys() {
                let mut less = object.clone();
                less.remove(field);
                let read = serde_json::from_value::<Event>(less.into());
                let must = !may_lack.contains(&&**field)
                    || (field == "node" && !line.contains("\"consistency\"") && !line.contains("\"tail\""));
                match read {
                    Ok(_) => assert!(!must, "{line} does without {field}"),
                    Err(error) => {
                        assert!(must, "{line} needs {field}");
                        assert!(error.to_string().contains(&format!("`{field}`")), "{line}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_of_another_kind_is_refused() {
        let item = item();
        let wrong = [
            (r#"{"at":1,"event":"vote"}"#.to_owned(), "unknown variant `vote`"),
            (r#"{"at":1,"event":"ok","op":1,"answer":"maybe"}"#.to_owned(), "unknown variant `maybe`"),
            (format!(r#"{{"at":1,"event":"seen","op":1,"records":["{HASH}"]}}"#), "a hash alone"),
            (
                format!(r#"{{"at":1,"event":"invoke","client":1,"op":1,"call":"append","records":[{item}]}}"#),
                "only their hashes",
            ),
            (r#"{"at":1,"event":"invoke","client":1,"op":1,"call":"append","records":["a"]}"#.to_owned(), "no hash"),
            (r#"{"at":-1,"event":"note","text":""}"#.to_owned(), "-1"),
            ("[]".to_owned(), "invalid"),
        ];
        for (line, expected) in wrong {
            let error = serde_json::from_str::<Event>(&line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
