//! The exit codes of the command, in one place. docs/operations.md has the table.

use std::error::Error;
use std::process::ExitCode;

use dledger::error::OpenError;
use dledger::offline::OfflineError;
use dledger::{ClientError, ConfigError, NodeProblem, PeersError, StartError, TriedNode};

use crate::output::{Failure, ended};

/// How the command ends. `log` has meanings of its own for 1 and 2 (docs/tools.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is well: what was asked for was done, and all that was looked at serves.
    Well = 0,
    /// It failed, or nobody answered. `log`: what was looked for was found.
    Failed = 1,
    /// The command line, the environment or the file of options cannot be used. `log`: it could not do its work.
    Usage = 2,
    /// A ledger is closed or damaged.
    Closed = 3,
    /// There is no master, as far as the node that was asked knows.
    NoMaster = 4,
}

/// Whether one of the nodes that were tried had this problem.
fn any(tried: &[TriedNode], problem: NodeProblem) -> bool {
    tried.iter().any(|tried| tried.problem == problem)
}

impl Exit {
    /// What an error means.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<ClientError>() {
            return match error {
                ClientError::NoMaster { .. } => Exit::NoMaster,
                ClientError::NotMaster { master, .. } if master.is_empty() => Exit::NoMaster,
                ClientError::Closed { .. } | ClientError::Damaged { .. } => Exit::Closed,
                // The nodes answered, and said that the ledger is closed.
                ClientError::Unreachable { tried, .. } if any(tried, NodeProblem::Closed) => Exit::Closed,
                ClientError::UnknownNode { .. }
                | ClientError::UnknownGroup { .. }
                | ClientError::WrongCluster { .. }
                | ClientError::TwoClusters { .. } => Exit::Usage,
                _ => Exit::Failed,
            };
        }
        let offline = error.downcast_ref();
        if let Some(OfflineError::Open(OpenError::Damaged(_)) | OfflineError::StartRefused { .. }) = offline {
            return Exit::Closed;
        }
        // As `log` has it: the tool could not do its work.
        if let Some(OfflineError::Open(OpenError::Io { .. })) = offline {
            return Exit::Usage;
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
            // A ledger is stopped when its node shuts down.
            "closed" | "stopped" => Exit::Closed,
            "electing" | "removed" => Exit::NoMaster,
            _ => Exit::Well,
        }
    }

    /// The code of several: a closed ledger comes before one without a master, because it does not open by itself.
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

/// What came of asking for one ledger on one node.
#[derive(Clone, Copy)]
pub(crate) enum AskOutcome<'a> {
    /// Its role.
    Role(&'a str),
    /// That it knows of no master, while others say that this node leads.
    Astray(&'a str),
    /// An answer that does not tell its role.
    Answer,
    /// No answer, or a refusal.
    Error(&'a ClientError),
}

/// What several answers come to: the worst of them, and the names of the nodes that gave it. A node that does not
/// answer changes nothing as long as another one answers.
///
/// # Errors
/// If all is not well.
pub(crate) fn overall<'a>(heard: impl IntoIterator<Item = (&'a str, AskOutcome<'a>)>) -> Result<(), Failure> {
    let (mut closed, mut removed, mut leaderless) = (Vec::new(), Vec::new(), Vec::new());
    let (mut silent, mut answered, mut astray) = (Vec::new(), false, Vec::new());
    for (name, heard) in heard {
        let code = match heard {
            AskOutcome::Answer => Exit::Well,
            AskOutcome::Role("removed") => {
                removed.push(name);
                Exit::Well
            }
            AskOutcome::Role(role) => Exit::of_role(role),
            AskOutcome::Astray(leads) => {
                astray.push(format!("{name} knows of no master, and {leads} leads"));
                Exit::Well
            }
            AskOutcome::Error(error) => Exit::of(error),
        };
        match code {
            Exit::Well => answered = true,
            Exit::Closed => closed.push(name),
            Exit::NoMaster => leaderless.push(name),
            Exit::Failed | Exit::Usage => silent.push(code),
        }
    }
    if !closed.is_empty() {
        return Err(ended(Exit::Closed, format_args!("closed: {}", closed.join(", "))));
    }
    let mut wrong = Vec::new();
    if !leaderless.is_empty() {
        wrong.push(format!("without a master: {}. Check that a quorum of the members is up", leaderless.join(", ")));
    }
    if !astray.is_empty() {
        wrong.push(format!("{}: the end of its line says what it waits for", astray.join("; ")));
    }
    if !removed.is_empty() {
        let removed = removed.join(", ");
        wrong.push(format!("removed from the cluster: {removed}. Stop it, or add it anew with an empty directory"));
    }
    match (wrong.is_empty(), silent.is_empty()) {
        (false, _) => Err(ended(Exit::NoMaster, wrong.join("; "))),
        (true, false) if !answered => {
            Err(ended(Exit::worst(silent), "no peer answered: check the addresses and that the nodes run"))
        }
        (true, _) => Ok(()),
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
        let tried = |problem| vec![TriedNode { address: "h:1".into(), reason: "disk".into(), problem }];
        let of = |problem| Exit::of(&ClientError::Unreachable { waited: Duration::ZERO, tried: tried(problem) });
        assert_eq!((of(NodeProblem::Closed), of(NodeProblem::Silent)), (Exit::Closed, Exit::Failed));
        assert_eq!(Exit::of(&"".parse::<dledger::Peers>().unwrap_err()), Exit::Usage);
        assert_eq!(Exit::of(&std::io::Error::other("x")), Exit::Failed);
    }

    #[test]
    fn what_several_answers_come_to_says_who_gave_the_worst_of_them() {
        let told = |heard: Vec<(&str, AskOutcome<'_>)>| match overall(heard) {
            Ok(()) => (Exit::Well, String::new()),
            Err(Failure::Error(exit, line)) => (exit, line),
            Err(other) => panic!("{other:?}"),
        };
        let broken = || ClientError::Broken { address: "h:1".into(), reason: "refused".into(), reached: false };
        let (silent, closed) = (broken(), ClientError::Closed { reason: "disk".into() });
        let (serves, gone) = (("n0", AskOutcome::Role("slave")), ("n1", AskOutcome::Error(&silent)));
        assert_eq!(told(vec![serves, gone]).0, Exit::Well, "one that is down is none of the others' business");
        let (exit, line) = told(vec![("n0", AskOutcome::Error(&silent)), ("n1", AskOutcome::Error(&silent))]);
        assert!(exit == Exit::Failed && line.contains("no peer answered"), "{line}");
        let refused = ("n2", AskOutcome::Error(&closed));
        let (exit, line) =
            told(vec![("n0", AskOutcome::Role("electing")), refused, ("n3", AskOutcome::Role("closed"))]);
        assert_eq!((exit, line.as_str()), (Exit::Closed, "closed: n2, n3"));
        let (exit, line) = told(vec![("n0", AskOutcome::Role("removed")), ("n1", AskOutcome::Role("master"))]);
        assert_eq!(exit, Exit::NoMaster);
        assert!(line.contains("removed from the cluster: n0") && !line.contains("quorum"), "{line}");
        let (exit, line) = told(vec![("n0", AskOutcome::Role("removed")), ("n1", AskOutcome::Role("electing"))]);
        assert!(
            exit == Exit::NoMaster && line.starts_with("without a master: n1. ") && line.contains(": n0"),
            "{line}"
        );
        let (exit, line) = told(vec![("n0", AskOutcome::Astray("n1")), ("n1", AskOutcome::Role("master"))]);
        assert_eq!(exit, Exit::NoMaster);
        assert!(line.starts_with("n0 knows of no master, and n1 leads") && !line.contains("quorum"), "{line}");
        assert_eq!(told(vec![("n0", AskOutcome::Answer)]).0, Exit::Well);
        assert_eq!(told(Vec::new()).0, Exit::Well);
    }

    #[test]
    fn a_closed_ledger_is_told_before_one_without_a_master() {
        let worst = |roles: &[&str]| Exit::worst(roles.iter().map(|role| Exit::of_role(role)));
        assert_eq!(worst(&["master", "slave"]), Exit::Well);
        assert_eq!(worst(&["slave", "electing"]), Exit::NoMaster);
        assert_eq!(worst(&["slave", "stopped"]), Exit::Closed);
        assert_eq!(worst(&["closed", "electing", "slave"]), Exit::Closed);
        assert_eq!(worst(&[]), Exit::Well);
    }
}
