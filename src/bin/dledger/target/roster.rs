//! The nodes of a ledger. The peer list is where one starts; the membership says who there is.

use std::time::Duration;

use dledger::{Client, ClientError, Group, MemberStatus, NodeClient, NodeId, Peer, Peers, Role, Status};
use futures::future::join_all;
use tokio::time::Instant;

use crate::output::{Failure, usage};
use crate::target::Target;
use crate::target::clusters;

/// What came of asking a node for its status.
pub(crate) struct Answer {
    pub(crate) peer: Peer,
    /// When the answer came.
    pub(crate) at: Instant,
    pub(crate) status: Result<Status, ClientError>,
    /// Whether the node is a member; `None` if no node says who the members are.
    pub(crate) member: Option<bool>,
}

impl Answer {
    /// The node's id: as it says itself, or else as the peer list or the membership has it.
    pub(crate) fn node(&self) -> &NodeId {
        self.status.as_ref().map_or(&self.peer.id, |status| &status.node)
    }
}

/// Asks all `peers` at once.
pub(crate) async fn ask(client: &Client, peers: &Peers) -> Vec<Answer> {
    let asked = peers.iter().map(|peer| async move {
        let status = client.status(&peer.id).await;
        Answer { peer: peer.clone(), at: Instant::now(), status, member: None }
    });
    join_all(asked).await
}

/// Asks the peers of the list, and then the members that the list lacks, or has at an address where they do not
/// answer.
pub(crate) async fn look(target: &Target, group: &Group) -> Vec<Answer> {
    let peers = &target.peers;
    let mut answers = ask(&target.client_of(group, peers, Duration::MAX), peers).await;
    // Of two clusters, neither says who is a stranger.
    let Some(members) = members(&answers).filter(|_| clusters::check_one(&answers).is_ok()) else { return answers };
    if let Ok(unheard) = Peers::new(unheard(&answers, &members)) {
        for answer in ask(&target.client_of(group, &unheard, Duration::MAX), &unheard).await {
            add(&mut answers, answer);
        }
    }
    mark(&mut answers, &members);
    answers
}

/// The members, as the node that is furthest knows them. `None` if no node says who they are.
pub(crate) fn members(answers: &[Answer]) -> Option<Vec<Peer>> {
    let known = answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let newest = known.filter(|status| !status.members.is_empty()).max_by_key(|status| {
        // Who was removed knows of no later change.
        (status.role.is_master(), !matches!(status.role, Role::Removed { .. }), status.term, status.committed)
    })?;
    let peer = |known: &MemberStatus| Peer { id: known.member.id.clone(), address: known.member.address.clone() };
    Some(newest.members.iter().map(peer).collect())
}

/// Notes in each answer whether the node is a member.
pub(crate) fn mark(answers: &mut [Answer], members: &[Peer]) {
    for answer in answers {
        answer.member = Some(members.iter().any(|member| member.id == *answer.node()));
    }
}

/// The members that have not answered, at addresses that have not been asked yet.
fn unheard(answers: &[Answer], members: &[Peer]) -> Vec<Peer> {
    let heard = |member: &Peer| {
        let answered = |answer: &Answer| answer.status.is_ok() && *answer.node() == member.id;
        answers.iter().any(|answer| answered(answer) || answer.peer.address.eq_ignore_ascii_case(&member.address))
    };
    members.iter().filter(|member| !heard(member)).cloned().collect()
}

/// Adds the answer of a member that was asked at its address in the membership. It replaces the failure to reach the
/// member at another address of the list.
fn add(answers: &mut Vec<Answer>, answer: Answer) {
    match answers.iter_mut().find(|listed| listed.status.is_err() && listed.peer.id == answer.peer.id) {
        Some(listed) if answer.status.is_ok() => *listed = answer,
        Some(_) => {}
        None => answers.push(answer),
    }
}

/// The nodes of the list, and the members besides.
///
/// # Errors
/// If they are of more than one cluster.
pub(crate) async fn everybody(target: &Target, group: &Group) -> Result<Peers, Failure> {
    let mut peers: Vec<Peer> = Vec::new();
    let answers = look(target, group).await;
    clusters::check_one(&answers)?;
    for answer in answers {
        if peers.iter().all(|peer| peer.id != answer.peer.id) {
            peers.push(answer.peer);
        }
    }
    Ok(Peers::new(peers)?)
}

/// A node by its name: at its address in the list, if it answers there, or else at its address in the membership.
pub(crate) async fn find(target: &Target, node: &NodeId) -> Result<NodeClient, Failure> {
    let group = target.group()?;
    let client = target.client()?;
    let listed = client.node(node);
    let mut other = None;
    if let Ok(listed) = &listed {
        match listed.status().await {
            Ok(status) if status.node != *node => other = Some(status.node),
            Err(ClientError::Broken { .. }) => {}
            Ok(_) | Err(_) => return Ok(listed.clone()),
        }
    }
    let answers = ask(&client, &target.peers).await;
    clusters::check_one(&answers)?;
    let members = members(&answers);
    let found = members.iter().flatten().find(|member| member.id == *node);
    if let Some(found) = found {
        let peers = Peers::new(vec![found.clone()])?;
        return Ok(target.client_of(group, &peers, Duration::MAX).node(node)?);
    }
    if let (Some(is), Some(address)) = (other, target.peers.get(node).map(|peer| &peer.address)) {
        // It would take what is meant for another.
        return Err(usage(format_args!(
            "{is} is at {address}, where the peers have {node}, and no member is called {node}"
        )));
    }
    listed.map_err(|error| match members {
        Some(members) => {
            let members = members.iter().map(|member| member.id.as_str()).collect::<Vec<_>>().join(", ");
            usage(format_args!("{error}, and the members are {members}"))
        }
        None => usage(format_args!("{error}, and none of them says who the members are")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(text: &str) -> Peers {
        text.parse().unwrap()
    }

    fn silent(peer: &Peer) -> Answer {
        let broken = ClientError::Broken { address: peer.address.clone(), reason: "refused".into(), reached: false };
        Answer { peer: peer.clone(), at: Instant::now(), status: Err(broken), member: None }
    }

    #[test]
    fn a_member_is_looked_for_where_it_was_not_asked_yet() {
        let answers: Vec<_> = peers("n0=a:1;n1=b:1").iter().map(silent).collect();
        let members: Vec<_> = peers("n0=A:1;n1=elsewhere:1;n2=c:1").iter().cloned().collect();
        let unheard = unheard(&answers, &members);
        assert_eq!(Peers::new(unheard).unwrap(), peers("n1=elsewhere:1;n2=c:1"));
    }

    #[test]
    fn who_does_not_answer_stays_where_the_list_has_it() {
        let mut answers: Vec<_> = peers("n0=a:1;n1=b:1").iter().map(silent).collect();
        for more in &peers("n1=elsewhere:1;n2=c:1") {
            add(&mut answers, silent(more));
        }
        let shown: Vec<_> = answers.iter().map(|answer| answer.peer.address.as_str()).collect();
        assert_eq!(shown, ["a:1", "b:1", "c:1"]);
        assert_eq!(members(&answers), None);
        mark(&mut answers, &[peers("n0=a:1").iter().next().unwrap().clone()]);
        assert_eq!(
            answers.iter().map(|answer| answer.member).collect::<Vec<_>>(),
            [Some(true), Some(false), Some(false)]
        );
    }
}
