//! How many files this process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors (files and connections) this process may have open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFileLimit {
    /// The limit now, `ulimit -Sn`; `None`: no limit.
    pub soft: Option<u64>,
    /// How far a process may raise the soft limit by itself, `ulimit -Hn`; `None`: no limit.
    pub hard: Option<u64>,
}

impl OpenFileLimit {
    /// The limits that the system has for this process.
    pub fn now() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        Self { soft: current, hard: maximum }
    }

    /// Raises the soft limit of this process to the hard one, and returns the new limits. Many systems start a process
    /// with 1024 although it may have far more. `dledger serve` calls this. A program that embeds a node decides for
    /// itself, before it starts one: code that still uses `select` cannot handle descriptors above 1023.
    ///
    /// # Errors
    /// The system refuses; the limits are as before.
    pub fn raise() -> io::Result<Self> {
        let limit = Self::now();
        if limit.soft != limit.hard {
            setrlimit(Resource::Nofile, Rlimit { current: limit.hard, maximum: limit.hard })?;
        }
        Ok(Self::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let hard = OpenFileLimit::now().hard;
        // Hardly lower: other tests run in this process.
        let lower = hard.map_or(1 << 20, |hard| hard - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum: hard }).unwrap();
        let raised = OpenFileLimit::raise().unwrap();
        assert_eq!((raised.soft, raised.hard), (hard, hard));
        assert_eq!(OpenFileLimit::now(), raised);
    }
}
