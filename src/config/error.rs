//! A value that cannot be used.

/// A configuration value was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {found} is not usable: expected {expected}")]
pub struct ConfigError {
    /// The field.
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// What would be.
    pub expected: String,
}

pub(super) fn refused(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError { key, found: found.to_string(), expected: expected.into() })
}
