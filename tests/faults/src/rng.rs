//! Chance that a seed determines.

use std::ops::Range;

use dledger_sim as sim;

/// The numbers of the simulation, and what is made of them here.
#[derive(Debug, Clone)]
pub struct Rng {
    seed: u64,
    numbers: sim::Rng,
}

impl Rng {
    /// Everything that follows is determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, numbers: sim::Rng::new(seed) }
    }

    /// Another source, determined by this one's seed and `salt`.
    pub fn fork(&self, salt: u64) -> Self {
        Self::new(sim::Rng::new(self.seed ^ salt.rotate_left(32)).draw())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.numbers.draw()
    }

    /// A number of the range, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.numbers.below(range.end - range.start)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.numbers.below(n as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.numbers.one_in(n)
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// In any order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}
