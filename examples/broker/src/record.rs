//! A message as a record: one byte with the length of the topic, the topic, the body.
//!
//! ```text
//! 06 6f 72 64 65 72 73 | 70 61 69 64
//!  6  o  r  d  e  r  s |  p  a  i  d
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// A message and where it belongs.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub body: Bytes,
}

impl Message {
    /// The record; `None` if the topic has not 1 to 255 bytes.
    pub fn encode(&self) -> Option<Bytes> {
        let length = u8::try_from(self.topic.len()).ok().filter(|length| *length > 0)?;
        let mut record = BytesMut::with_capacity(1 + self.topic.len() + self.body.len());
        record.put_u8(length);
        record.put_slice(self.topic.as_bytes());
        record.put_slice(&self.body);
        Some(record.freeze())
    }

    /// The reverse; `None` if something else wrote the record. The body is a slice of it, not a copy.
    pub fn decode(record: &Bytes) -> Option<Self> {
        let start = 1 + usize::from(*record.first()?);
        let topic = std::str::from_utf8(record.get(1..start)?).ok().filter(|topic| !topic.is_empty())?;
        Some(Self { topic: topic.to_owned(), body: record.slice(start..) })
    }
}
