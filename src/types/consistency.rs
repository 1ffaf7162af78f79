//! How much a read promises to see.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much a read promises to see. All of them work on any node.
///
/// A read returns committed records in any case, and those stay. The difference is whether the newest may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// The records that this node knows to be committed. Costs nothing. A slave may lack the newest records, and so
    /// may a master that has been succeeded and does not know it yet.
    #[default]
    Local,
    /// All records that were acknowledged to any client before the read began, as long as no node's clock runs a fifth
    /// faster than another's, and none stands still while its node goes on (a suspended virtual machine). Costs no
    /// round to the quorum if the leader has heard from one a moment ago; on a slave, a round to the leader.
    Lease,
    /// All records that were acknowledged to any client before the read began, whatever the clocks do. Costs a round
    /// from the leader to a quorum, and on a slave one to the leader too.
    Linearizable,
}

impl Consistency {
    /// All consistencies, weakest first.
    pub const ALL: [Self; 3] = [Self::Local, Self::Lease, Self::Linearizable];

    /// One word for arguments and messages: `local`, `lease`, `linearizable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lease => "lease",
            Self::Linearizable => "linearizable",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word names no consistency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no consistency: write local, lease or linearizable")]
pub struct ConsistencyError {
    /// The word.
    pub found: String,
}

impl FromStr for Consistency {
    type Err = ConsistencyError;

    fn from_str(word: &str) -> Result<Self, ConsistencyError> {
        let known = Self::ALL.into_iter().find(|one| one.name() == word);
        known.ok_or_else(|| ConsistencyError { found: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consistency_is_read_as_it_is_written() {
        for one in Consistency::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        let error = "strong".parse::<Consistency>().unwrap_err();
        assert!(error.to_string().contains("\"strong\"") && error.to_string().contains("linearizable"), "{error}");
    }
}
