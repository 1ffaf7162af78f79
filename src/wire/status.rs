//! The status of a ledger and of its members, as it travels. The server writes it, the client reads it.

use std::time::Duration;

use super::client::{millis, quote};
use super::incarnation_bytes;
use super::pb;
use crate::types::{
    ClosedKind, Incarnation, Member, MemberProgress, MemberStatus, NameError, Role, ScrubStatus, Status,
};

impl From<Status> for pb::StatusResponse {
    fn from(status: Status) -> Self {
        let closed_reason = status.role.reason().map(quote).unwrap_or_default();
        let (master, master_address, master_incarnation) = match status.master {
            Some(Member { id, address, incarnation }) => (id.into(), address, incarnation_bytes(Some(incarnation))),
            None => Default::default(),
        };
        Self {
            cluster: status.cluster.into(),
            group: status.group.into(),
            node: status.node.into(),
            role: status.role.name().into(),
            term: status.term,
            master,
            master_address,
            master_incarnation,
            first: status.first,
            committed: status.committed,
            durable: status.durable,
            end: status.end,
            members: status.members.into_iter().map(Into::into).collect(),
            committed_chain: status.committed_chain,
            committed_position: status.committed_position,
            closed_reason,
            closed_kind: from_kind(&status.role).into(),
            disk_full: status.disk_full.map(|why| quote(&why)).unwrap_or_default(),
            cluster_incarnation: incarnation_bytes(status.cluster_incarnation),
            alarm: status.alarm.unwrap_or_default(),
            durability: status.durability.unwrap_or_default(),
            waiting: status.waiting.map(|why| quote(&why)).unwrap_or_default(),
            scrub: Some(status.scrub.into()),
        }
    }
}

/// What a node of an older version does not say stays empty: an incarnation is all zeroes, a [`ClosedKind`] untold.
impl TryFrom<pb::StatusResponse> for Status {
    /// What is wrong with the message.
    type Error = String;

    fn try_from(message: pb::StatusResponse) -> Result<Self, String> {
        let master = match message.master.is_empty() {
            true => None,
            false => Some(member(message.master.clone(), message.master_address.clone(), &message.master_incarnation)?),
        };
        Ok(Self {
            role: role(&message, master.as_ref())?,
            cluster: named(message.cluster)?,
            cluster_incarnation: Incarnation::from_slice(&message.cluster_incarnation),
            group: named(message.group)?,
            node: named(message.node)?,
            term: message.term,
            master,
            first: message.first,
            committed: message.committed,
            durable: message.durable,
            end: message.end,
            committed_position: message.committed_position,
            committed_chain: message.committed_chain,
            disk_full: said(message.disk_full),
            alarm: said(message.alarm),
            durability: said(message.durability),
            waiting: said(message.waiting),
            scrub: message.scrub.map(Into::into).unwrap_or_default(),
            members: message.members.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

/// The reverse of [`Role::name`], with what else the message says of it.
fn role(message: &pb::StatusResponse, master: Option<&Member>) -> Result<Role, String> {
    let (term, reason) = (message.term, || message.closed_reason.clone());
    Ok(match message.role.as_str() {
        "master" => Role::Master { term },
        "slave" => Role::Slave { term, master: master.ok_or("a slave that names no master")?.clone() },
        "electing" => Role::Electing { term },
        "removed" => Role::Removed { term, reason: reason() },
        "stopped" => Role::Stopped,
        "closed" => Role::Closed { kind: to_kind(message.closed_kind()), reason: reason() },
        other => return Err(format!("the role {other:?}, which is unknown here")),
    })
}

fn from_kind(role: &Role) -> pb::ClosedKind {
    let Role::Closed { kind, .. } = role else { return pb::ClosedKind::Unspecified };
    match kind {
        ClosedKind::Damaged => pb::ClosedKind::Damaged,
        ClosedKind::Storage => pb::ClosedKind::Storage,
        ClosedKind::Exhausted => pb::ClosedKind::Exhausted,
        ClosedKind::InUse => pb::ClosedKind::InUse,
        ClosedKind::Refused => pb::ClosedKind::Refused,
        ClosedKind::Internal => pb::ClosedKind::Internal,
        ClosedKind::Untold => pb::ClosedKind::Unspecified,
    }
}

fn to_kind(kind: pb::ClosedKind) -> ClosedKind {
    match kind {
        pb::ClosedKind::Unspecified => ClosedKind::Untold,
        pb::ClosedKind::Damaged => ClosedKind::Damaged,
        pb::ClosedKind::Storage => ClosedKind::Storage,
        pb::ClosedKind::Exhausted => ClosedKind::Exhausted,
        pb::ClosedKind::InUse => ClosedKind::InUse,
        pb::ClosedKind::Refused => ClosedKind::Refused,
        pb::ClosedKind::Internal => ClosedKind::Internal,
    }
}

impl From<MemberStatus> for pb::MemberStatus {
    fn from(MemberStatus { member: Member { id, address, incarnation }, voter }: MemberStatus) -> Self {
        Self { id: id.into(), address, voter, incarnation: incarnation_bytes(Some(incarnation)) }
    }
}

impl TryFrom<pb::MemberStatus> for MemberStatus {
    /// What is wrong with the message.
    type Error = String;

    fn try_from(message: pb::MemberStatus) -> Result<Self, String> {
        let pb::MemberStatus { id, address, voter, incarnation } = message;
        Ok(Self { member: member(id, address, &incarnation)?, voter })
    }
}

impl From<MemberProgress> for pb::MemberProgress {
    fn from(progress: MemberProgress) -> Self {
        let Member { id, address, incarnation } = progress.member;
        Self {
            id: id.into(),
            address,
            incarnation: incarnation_bytes(Some(incarnation)),
            voter: progress.voter,
            end: progress.end,
            behind: progress.behind,
            heard_ms: progress.heard.map(millis),
            alarm: progress.alarm.unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::MemberProgress> for MemberProgress {
    /// What is wrong with the message.
    type Error = String;

    fn try_from(message: pb::MemberProgress) -> Result<Self, String> {
        Ok(Self {
            member: member(message.id, message.address, &message.incarnation)?,
            voter: message.voter,
            end: message.end,
            behind: message.behind,
            heard: message.heard_ms.map(Duration::from_millis),
            alarm: said(message.alarm),
        })
    }
}

/// The member that was added, or that took another's place.
impl From<Member> for pb::ChangeMembersResponse {
    fn from(Member { id, incarnation, .. }: Member) -> Self {
        Self { id: id.into(), incarnation: incarnation_bytes(Some(incarnation)) }
    }
}

impl From<ScrubStatus> for pb::ScrubStatus {
    fn from(ScrubStatus { passes, last_pass, found, repaired, damaged }: ScrubStatus) -> Self {
        Self { passes, last_pass, found, repaired, damaged }
    }
}

impl From<pb::ScrubStatus> for ScrubStatus {
    fn from(pb::ScrubStatus { passes, last_pass, found, repaired, damaged }: pb::ScrubStatus) -> Self {
        Self { passes, last_pass, found, repaired, damaged }
    }
}

/// A member as messages name it.
///
/// # Errors
/// The name or the incarnation is malformed. An empty incarnation comes from a node of an older version.
pub(crate) fn member(id: String, address: String, incarnation: &[u8]) -> Result<Member, String> {
    let incarnation = match incarnation {
        [] => Incarnation::default(),
        told => Incarnation::from_slice(told).ok_or_else(|| format!("an incarnation of {} bytes", told.len()))?,
    };
    Ok(Member { id: named(id)?, address, incarnation })
}

fn named<T: TryFrom<String, Error = NameError>>(name: String) -> Result<T, String> {
    T::try_from(name).map_err(|error| error.to_string())
}

fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u64) -> Member {
        Member { id: number.into(), address: format!("h:{number}"), incarnation: Incarnation::random() }
    }

    fn status(role: Role) -> Status {
        let master = one(1);
        Status {
            cluster: Default::default(),
            cluster_incarnation: Some(Incarnation::random()),
            group: "g".parse().unwrap(),
            node: 0.into(),
            role,
            term: 3,
            master: Some(master.clone()),
            first: 1,
            committed: 2,
            durable: 4,
            end: 5,
            committed_position: 6,
            committed_chain: 7,
            disk_full: Some("no room".into()),
            alarm: Some("n1 had more".into()),
            durability: Some("sync".into()),
            waiting: Some("n1 is down".into()),
            scrub: ScrubStatus { passes: 8, last_pass: Some(9), found: 10, repaired: 11, damaged: vec![12, 13] },
            members: vec![
                MemberStatus { member: one(0), voter: true },
                MemberStatus { member: master, voter: true },
                MemberStatus { member: one(2), voter: false },
            ],
        }
    }

    fn bare() -> pb::StatusResponse {
        let (cluster, group, node) = ("c".into(), "g".into(), "n0".into());
        pb::StatusResponse { cluster, group, node, role: "electing".into(), ..Default::default() }
    }

    #[test]
    fn a_status_arrives_as_it_is() {
        use ClosedKind::*;
        let closed = |kind| Role::Closed { kind, reason: "disk".into() };
        let roles = [Damaged, Storage, Exhausted, InUse, Refused, Internal, Untold].map(closed).into_iter().chain([
            Role::Electing { term: 3 },
            Role::Master { term: 3 },
            Role::Removed { term: 3, reason: "n1 says so".into() },
            Role::Stopped,
        ]);
        for role in roles {
            let status = status(role);
            assert_eq!(Status::try_from(pb::StatusResponse::from(status.clone())), Ok(status));
        }
        let mut slave = status(Role::Stopped);
        slave.role = Role::Slave { term: 3, master: slave.master.clone().unwrap() };
        assert_eq!(Status::try_from(pb::StatusResponse::from(slave.clone())), Ok(slave));
    }

    #[test]
    fn a_member_arrives_as_it_is() {
        let heard = Some(Duration::from_millis(7));
        let alarm = Some("it had more".into());
        let known = MemberProgress { member: one(1), voter: true, end: Some(5), behind: Some(2), heard, alarm };
        let unknown =
            MemberProgress { member: one(2), voter: false, end: None, behind: None, heard: None, alarm: None };
        for progress in [known, unknown] {
            assert_eq!(MemberProgress::try_from(pb::MemberProgress::from(progress.clone())), Ok(progress));
        }
        let added = pb::ChangeMembersResponse::from(one(1));
        assert_eq!((added.id.as_str(), added.incarnation.len()), ("n1", 16));
    }

    #[test]
    fn what_an_older_node_does_not_tell_is_not_made_up() {
        let member = pb::MemberStatus { id: "n1".into(), address: "h:1".into(), voter: true, ..Default::default() };
        let (master, master_address) = (member.id.clone(), member.address.clone());
        let slave = pb::StatusResponse { role: "slave".into(), term: 2, master, master_address, ..bare() };
        let status = Status::try_from(pb::StatusResponse { members: vec![member], ..slave }).unwrap();
        let known = Member { id: 1.into(), address: "h:1".into(), incarnation: Incarnation::default() };
        assert_eq!(status.role, Role::Slave { term: 2, master: known.clone() });
        assert_eq!((status.master, status.scrub), (Some(known.clone()), ScrubStatus::default()));
        assert_eq!(status.members, [MemberStatus { member: known, voter: true }]);
        assert_eq!((status.durability, status.cluster_incarnation), (None, None));
        let closed = pb::StatusResponse { role: "closed".into(), closed_reason: "disk".into(), ..bare() };
        let closed = Status::try_from(closed).unwrap().role;
        assert_eq!(closed, Role::Closed { kind: ClosedKind::Untold, reason: "disk".into() });
    }

    #[test]
    fn a_status_that_is_none_is_refused_by_what_is_wrong_with_it() {
        let wrong = |message: pb::StatusResponse| Status::try_from(message).unwrap_err();
        assert!(Status::try_from(bare()).is_ok());
        let error = wrong(pb::StatusResponse { role: "king".into(), ..bare() });
        assert!(error.contains("king"), "{error}");
        let error = wrong(pb::StatusResponse { role: "slave".into(), ..bare() });
        assert!(error.contains("no master"), "{error}");
        let error = wrong(pb::StatusResponse { node: "n/0".into(), ..bare() });
        assert!(error.contains("n/0"), "{error}");
        let member = pb::MemberStatus { id: "n1".into(), incarnation: vec![1; 5].into(), ..Default::default() };
        let error = wrong(pb::StatusResponse { members: vec![member], ..bare() });
        assert!(error.contains("5 bytes"), "{error}");
    }
}
