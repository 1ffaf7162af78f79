//! Random numbers that a seed determines, and the hash of everything that happened.

/// Random numbers. SplitMix64: small, and a seed of any quality will do.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent stream, so that one more draw here does not change what another part of the world draws.
    pub fn fork(&mut self) -> Self {
        Self(self.draw())
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// A running hash (FNV-1a over the checksums of all events): equal after equal histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Of all events so far.
    pub hash: u64,
    /// How many there were.
    pub events: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0 }
    }

    /// Adds an event.
    pub fn event(&mut self, bytes: &[u8]) {
        for byte in crc32c::crc32c(bytes).to_le_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.events += 1;
    }
}
