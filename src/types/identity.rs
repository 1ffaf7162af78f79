//! Who takes part: clusters, groups, nodes, disks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest name, in bytes. 63 is what DNS allows for one label, so a pod name always fits.
const MAX_NAME: usize = 63;

/// A name was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {found:?} is not valid: use 1 to {MAX_NAME} letters, digits, '-', '_' or '.', \
     starting with a letter or digit"
)]
pub struct NameError {
    /// What the name is for.
    pub kind: &'static str,
    /// What was found.
    pub found: String,
}

fn checked(kind: &'static str, name: &str) -> Result<Arc<str>, NameError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if starts_well && name.len() <= MAX_NAME && name.bytes().all(good) {
        Ok(name.into())
    } else {
        Err(NameError { kind, found: name.chars().take(100).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                checked($kind, name).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(name: &str) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

name!(
    /// Name of a node, unique in its cluster: `n0`, `broker-2`. A name is never given to another disk.
    NodeId,
    "node id"
);
name!(
    /// Name of a ledger; DLedger calls it the *group* ("RaftNode00").
    Group,
    "group"
);
name!(
    /// Name of a cluster. Every peer call carries it, and every directory remembers it.
    ClusterName,
    "cluster name"
);

impl NodeId {
    /// The node id `n<number>`, as DLedger's samples write them.
    pub fn new(number: u64) -> Self {
        Self(format!("n{number}").into())
    }
}

/// Same as [`NodeId::new`].
impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self("dledger".into())
    }
}

/// Identity of one disk: made when a data directory is created and never again.
///
/// A wiped or copied disk therefore cannot pass for the one that voted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation(u128);

impl Incarnation {
    /// A new random incarnation.
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// The 16 bytes, as they travel and lie on disk.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The reverse of [`Incarnation::to_bytes`]; `None` if there are not 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|b| Self(u128::from_be_bytes(b)))
    }

    /// An incarnation with a chosen value, for simulations that must be repeatable.
    pub fn from_u128(value: u128) -> Self {
        Self(value)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Uuid::from_u128(self.0))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A member of a cluster: its name, where it is reached, and which disk it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// `host:port`. A name stays a name; it is resolved at every connect.
    pub address: String,
    /// The disk. All zeros if a node of an older version, asked from afar, does not tell its disk.
    pub incarnation: Incarnation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_dashes_and_dots_and_refuse_the_rest() {
        for good in ["n0", "broker-0", "a.b_c-d", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for bad in ["", "-n0", "a b", "n0;", "ä", &"x".repeat(64), "n/0"] {
            let error = bad.parse::<Group>().unwrap_err();
            assert_eq!(error.kind, "group");
            assert!(error.to_string().contains("is not valid"), "{error}");
        }
    }

    #[test]
    fn an_incarnation_survives_its_bytes() {
        let one = Incarnation::random();
        assert_eq!(Incarnation::from_slice(&one.to_bytes()), Some(one));
        assert_eq!(Incarnation::from_slice(&[1, 2]), None);
        assert_ne!(one, Incarnation::random());
    }
}
