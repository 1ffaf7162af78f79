//! The exit codes of the command, in one place. docs/operations.md has the table.

use std::error::Error;
use std::process::ExitCode;

use dledger::{ClientError, ConfigError, PeersError, StartError};

/// How the command ends. `log` and `check` have meanings of their own for 1 and 2 (docs/tools.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is well: what was asked for happened, all that was looked at serves.
    Well = 0,
    /// It failed, or nobody answered. `log` and `check`: what was looked for was found.
    Failed = 1,
    /// The command line, the environment or the file of options cannot be used. `log` and `check`: they could not do
    /// their work.
    Usage = 2,
    /// A ledger is closed or damaged.
    Closed = 3,
    /// There is no master, as far as who was asked knows.
    NoMaster = 4,
}

impl Exit {
    /// What an error means.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<ClientError>() {
            return match error {
                ClientError::NoMaster { .. } => Exit::NoMaster,
                ClientError::NotMaster { master, .. } if master.is_empty() => Exit::NoMaster,
                ClientError::Closed { .. } | ClientError::Damaged { .. } => Exit::Closed,
                _ => Exit::Failed,
            };
        }
        if let Some(error) = error.downcast_ref::<StartError>() {
            return match error {
                StartError::Config(_) | StartError::Peers(_) | StartError::NoCluster { .. } => Exit::Usage,
                StartError::Open(_) | StartError::Unrepaired { .. } | StartError::Raft { .. } => Exit::Closed,
                StartError::Ledgers { failed } => Exit::worst(failed.iter().map(|(_, error)| Exit::of(error))),
                _ => Exit::Failed,
            };
        }
        let usage = error.is::<ConfigError>() || error.is::<PeersError>();
        if usage { Exit::Usage } else { Exit::Failed }
    }

    /// What the role of one ledger on one node means: `master` and `slave` serve.
    pub(crate) fn of_role(role: &str) -> Self {
        match role {
            "closed" => Exit::Closed,
            "electing" | "removed" => Exit::NoMaster,
            _ => Exit::Well,
        }
    }

    /// The code of several: a closed ledger comes before one without a master, for it does not pass by itself.
    pub(crate) fn worst(codes: impl IntoIterator<Item = Exit>) -> Self {
        let gravity = |code: &Exit| match code {
            Exit::Well => 0,
            Exit::NoMaster => 1,
            Exit::Failed => 2,
            Exit::Usage => 3,
            Exit::Closed => 4,
        };
        codes.into_iter().max_by_key(gravity).unwrap_or(Exit::Well)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        let no_master = ClientError::NoMaster { waited: Duration::ZERO, tried: Vec::new() };
        let unreachable = ClientError::Unreachable { waited: Duration::ZERO, tried: Vec::new() };
        let closed = ClientError::Closed { reason: "disk".into() };
        let known = ClientError::NotMaster { master: "n1".into(), address: "h:1".into() };
        let unknown = ClientError::NotMaster { master: String::new(), address: String::new() };
        let codes = [&no_master, &unreachable, &closed, &known, &unknown].map(|error| Exit::of(error) as u8);
        assert_eq!(codes, [4, 1, 3, 1, 4]);
        assert_eq!(Exit::of(&"".parse::<dledger::Peers>().unwrap_err()), Exit::Usage);
        assert_eq!(Exit::of(&std::io::Error::other("x")), Exit::Failed);
    }

    #[test]
    fn a_closed_ledger_is_told_before_one_without_a_master() {
        let worst = |roles: &[&str]| Exit::worst(roles.iter().map(|role| Exit::of_role(role)));
        assert_eq!(worst(&["master", "slave"]), Exit::Well);
        assert_eq!(worst(&["slave", "electing"]), Exit::NoMaster);
        assert_eq!(worst(&["closed", "electing", "slave"]), Exit::Closed);
        assert_eq!(worst(&[]), Exit::Well);
    }
}
