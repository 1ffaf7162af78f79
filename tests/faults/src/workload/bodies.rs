//! No two records are equal.

use bytes::{BufMut, Bytes, BytesMut};

use crate::rng::Rng;

/// Bodies of one client, each with its own number in front.
#[derive(Debug)]
pub(super) struct Bodies {
    client: u64,
    next: u64,
    rng: Rng,
    largest: usize,
}

impl Bodies {
    pub(super) fn new(client: u64, rng: Rng, largest: usize) -> Self {
        Self { client, next: 0, rng, largest }
    }

    /// One of any length up to the largest; most are short.
    pub(super) fn next(&mut self) -> Bytes {
        let length = match self.rng.below(8) {
            0 => self.rng.below(self.largest.max(1)),
            _ => self.rng.below(self.largest.clamp(1, 256)),
        };
        self.sized(length)
    }

    /// One of this length, or a little longer.
    pub(super) fn sized(&mut self, length: usize) -> Bytes {
        let mut body = BytesMut::with_capacity(length + 40);
        body.put_slice(format!("{}/{}/", self.client, self.next).as_bytes());
        self.next += 1;
        while body.len() < length {
            body.put_u64(self.rng.number());
        }
        body.freeze()
    }
}
