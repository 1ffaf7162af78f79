//! Ends the active segment because of its age, once the master knows that the members can follow.

use futures::future::join_all;

use crate::format::DIRECTORY_VERSION;
use crate::node::ledger::Ledger;
use crate::types::NodeId;
use crate::wire::pb;

/// Whether a member can follow when the segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// It does not answer.
    Silent,
    /// Its version of the disk format has no rolls.
    Outdated,
    /// Its disk has no room for another segment.
    Full,
    Ready,
}

impl From<pb::IdentifyResponse> for Readiness {
    fn from(answer: pb::IdentifyResponse) -> Self {
        match () {
            // A node that knows only the first version says 0.
            () if answer.format < DIRECTORY_VERSION => Self::Outdated,
            () if answer.no_room => Self::Full,
            () => Self::Ready,
        }
    }
}

/// Ends the segment that begins with entry `begins`, if this node leads and the members can follow. If not, the next
/// look asks them again.
///
/// # Errors
/// Which members cannot follow, for the operator.
pub(crate) async fn end_segment(ledger: &Ledger, begins: u64) -> Result<(), String> {
    let replica = ledger.replica();
    if replica.admission.lacks_room() {
        return Err(cannot("this node has no room for another segment"));
    }
    let members = replica.view.borrow().members.clone();
    let others: Vec<_> = members.iter().filter(|member| member.member.id != replica.identity.node).collect();
    let answers = join_all(others.iter().map(|other| ledger.ask_member(&other.member))).await;
    let answers: Vec<_> = others
        .iter()
        .zip(answers)
        .map(|(other, answer)| (&other.member.id, other.voter, answer.map_or(Readiness::Silent, Readiness::from)))
        .collect();
    let voters = members.iter().filter(|member| member.voter).count();
    can_follow(voters, &answers)?;
    // An error: the proposer is gone, and the ledger is closed.
    if replica.rolls.send(begins).is_ok() {
        tracing::info!(group = %ledger.group(), entry = begins,
            "ending the segment: its first record is as old as retention keeps records");
    }
    Ok(())
}

/// Whether a majority of `voters`, this node included, can follow, and no member that answers is of a version without
/// rolls. `answers` are those of the others, each with whether it is a voter.
fn can_follow(voters: usize, answers: &[(&NodeId, bool, Readiness)]) -> Result<(), String> {
    let ready = answers.iter().filter(|(_, voter, answer)| *voter && *answer == Readiness::Ready).count();
    let old = answers.iter().any(|(.., answer)| *answer == Readiness::Outdated);
    if ready + 1 > voters / 2 && !old {
        return Ok(());
    }
    let why = answers.iter().filter_map(|(id, _, answer)| match answer {
        Readiness::Ready => None,
        Readiness::Silent => Some(format!("{id} does not answer")),
        Readiness::Outdated => Some(format!("{id} runs a version that cannot end segments by age: update it")),
        Readiness::Full => Some(format!("{id} has no room for another segment")),
    });
    Err(cannot(&why.collect::<Vec<_>>().join(", ")))
}

fn cannot(why: &str) -> String {
    format!(
        "the newest records are as old as retention keeps records, but their segment cannot end so that they can go: \
         {why}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_ends_where_a_majority_has_room_and_nobody_is_of_a_version_without_rolls() {
        use Readiness::*;
        let ids: Vec<NodeId> = (1..5).map(NodeId::new).collect();
        let follow = |voters: usize, answers: &[(bool, Readiness)]| {
            let answers: Vec<_> = ids.iter().zip(answers).map(|(id, (voter, answer))| (id, *voter, *answer)).collect();
            can_follow(voters, &answers).map_err(|why| why.split_once(": ").unwrap().1.to_owned())
        };
        let ready = Ok(());
        assert_eq!(follow(1, &[]), ready);
        assert_eq!(follow(3, &[(true, Ready), (true, Ready)]), ready);
        assert_eq!(follow(3, &[(true, Ready), (true, Silent)]), ready);
        assert_eq!(follow(3, &[(true, Full), (true, Ready)]), ready);
        assert_eq!(follow(2, &[(true, Ready), (false, Silent)]), ready);
        let both = "n1 has no room for another segment, n2 does not answer";
        assert_eq!(follow(3, &[(true, Full), (true, Silent)]), Err(both.into()));
        assert_eq!(follow(2, &[(true, Silent), (false, Ready)]), Err("n1 does not answer".into()));
        let old = "n2 runs a version that cannot end segments by age: update it";
        assert_eq!(follow(3, &[(true, Ready), (true, Outdated)]), Err(old.into()));
        assert_eq!(follow(2, &[(true, Ready), (false, Outdated)]), Err(old.into()));
    }

    #[test]
    fn who_does_not_tell_its_version_is_of_the_first() {
        let says = |format, no_room| Readiness::from(pb::IdentifyResponse { format, no_room, ..Default::default() });
        assert_eq!((says(0, false), says(1, true)), (Readiness::Outdated, Readiness::Outdated));
        assert_eq!((says(2, true), says(3, false)), (Readiness::Full, Readiness::Ready));
    }
}
