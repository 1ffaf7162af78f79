//! Something that is not what it should be.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Something that is not what it should be: the three facts that every error about stored or sent bytes names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What does not fit.
    pub what: Cow<'static, str>,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

impl Mismatch {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, found: impl ToString, expected: impl ToString) -> Self {
        Self { what: what.into(), found: found.to_string(), expected: expected.to_string() }
    }

    /// `None` if both are the same.
    pub(crate) fn between<T: ToString + PartialEq>(what: &'static str, found: T, expected: T) -> Option<Self> {
        (found != expected).then(|| Self::new(what, found, expected))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, expected {}", self.what, self.found, self.expected)
    }
}
