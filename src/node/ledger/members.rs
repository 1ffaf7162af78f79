//! The members of a ledger, and changes of them.

use std::time::Duration;

use super::Ledger;
use crate::error::MemberError;
use crate::peer::convert::from_log_id;
use crate::peer::envelope::{envelope, envelope_to_anybody, look};
use crate::raft::membership::view::Change;
use crate::raft::membership::view::{MemberView, MembershipView};
use crate::transport::{Lane, TransportError};
use crate::types::{Incarnation, Member, MemberProgress, NodeId, Role, checked_address};
use crate::wire::incarnation_bytes;
use crate::wire::pb;

/// Longest wait for a member to catch up, one day: a learner may have to copy the whole log.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A node that is about to become a member.
struct Newcomer {
    member: Member,
    /// It has never had a vote or an entry.
    empty: bool,
    /// The cluster that it is already a member of.
    cluster: Option<Incarnation>,
    /// Index after the last record it stores.
    end: u64,
}

impl Ledger {
    /// All members and, on the master, how far each of them is.
    pub fn members(&self) -> Vec<MemberProgress> {
        let view = self.replica().raft.membership();
        let role = self.replica().role.borrow().clone();
        let alarm = |member: &Member| self.alarm_of(&role, member);
        let progress = |seen: &MemberView| MemberProgress {
            member: seen.member.clone(),
            voter: seen.voter,
            end: seen.matched.and_then(|number| self.index_after(number)),
            behind: seen.matched.map(|_| view.behind(seen)),
            heard: seen.heard,
            alarm: alarm(&seen.member),
        };
        view.members.iter().map(progress).collect()
    }

    /// What this node found to be wrong with a member: with itself, or, if it is the master, with another one.
    pub(in crate::node) fn alarm_of(&self, role: &Role, member: &Member) -> Option<String> {
        if member.id == self.replica().identity.node {
            return self.misplaced(member).or_else(|| self.replica().standing.contradiction());
        }
        let Role::Master { term } = role else { return None };
        self.replica().acks.alarm(*term, &member.id, member.incarnation)
    }

    /// What is wrong if this node advertises another address than its address in the membership: then the other members
    /// neither call it there nor listen to it.
    fn misplaced(&self, noted: &Member) -> Option<String> {
        let (id, advertised) = (&noted.id, self.advertised());
        (noted.address != advertised).then(|| {
            format!(
                "the members have {id} at {}, and it advertises {advertised}: start it there, or note that it has \
                 moved (`dledger members move {id} {advertised}`)",
                noted.address
            )
        })
    }

    /// A master that the others would not find adds no member: they would be a quorum without it, and never agree.
    fn check_place(&self, view: &MembershipView, newcomer: &str) -> Result<(), MemberError> {
        let own = view.get(&self.replica().identity.node);
        match own.and_then(|seen| self.misplaced(&seen.member)) {
            Some(reason) => Err(MemberError::Unfit { address: newcomer.to_owned(), reason }),
            None => Ok(()),
        }
    }

    /// Index after the last record up to entry `number`; `None` if the log no longer has it.
    fn index_after(&self, number: u64) -> Option<u64> {
        self.replica().log.cursor_after(number).ok().flatten().map(|next| next.index)
    }

    /// Makes the node at `address` (`host:port`) a learner: it gets the log and has no vote. It must run with an empty
    /// directory for this ledger, because a disk that was another member's cannot be told from a disk that has lost its
    /// votes. Returns the new member. Call it on the master; a node that is a member already stays as it is.
    ///
    /// # Errors
    /// This is not the master, the node cannot become a member, or the change did not happen.
    pub async fn add_learner(&self, address: &str) -> Result<Member, MemberError> {
        self.check_master()?;
        let newcomer = self.identify(address).await?;
        self.add(&newcomer).await?;
        Ok(newcomer.member)
    }

    async fn add(&self, newcomer: &Newcomer) -> Result<(), MemberError> {
        let Newcomer { member, empty, .. } = newcomer;
        let decide = |view: &MembershipView| match view.get(&member.id) {
            Some(seen) if seen.member == *member => Ok(None),
            Some(seen) if seen.member.incarnation == member.incarnation => Err(MemberError::Unfit {
                address: member.address.clone(),
                reason: format!(
                    "it has the disk of {} at {}: a copy, or {} has moved (`members move`)",
                    member.id, seen.member.address, member.id
                ),
            }),
            Some(seen) => Err(other_disk(&seen.member, member.incarnation)),
            None if !empty => Err(self.not_empty(newcomer)),
            None => {
                self.check_place(view, &member.address)?;
                Ok(Some(Change::AddLearner(member.clone())))
            }
        };
        self.replica().raft.change(&decide).await
    }

    /// Makes a learner a voter, once it has caught up; waits at most `wait` for that. Call it on the master.
    ///
    /// # Errors
    /// This is not the master or ceases to be, the learner is unknown or still behind, or too few voters answer.
    pub async fn promote(&self, id: &NodeId, wait: Duration) -> Result<(), MemberError> {
        let wait = wait.min(MAX_WAIT);
        let settled = |view: &MembershipView| {
            !view.leads || view.get(id).is_none_or(|seen| seen.voter || view.has_caught_up(seen))
        };
        // `decide`, below, looks at the newest view for whether it did.
        self.replica().wait_for(&settled, wait).await?;
        let decide = |view: &MembershipView| match view.get(id) {
            None => Err(view.unknown(id)),
            Some(seen) if seen.voter => Ok(None),
            Some(seen) if view.has_caught_up(seen) => {
                self.check_place(view, &seen.member.address)?;
                Ok(Some(Change::Promote(id.clone())))
            }
            Some(seen) => Err(MemberError::Behind { id: id.clone(), behind: view.behind(seen), waited: wait }),
        };
        self.replica().raft.change(&decide).await
    }

    /// Removes a voter or a learner. Its disk cannot come back: the other members refuse it from then on. Call it on
    /// the master; a master that is to be removed hands over first, and the call must then be made on the next one.
    ///
    /// # Errors
    /// This is not the master, or the voters that answer would be no quorum without the member.
    pub async fn remove_member(&self, id: &NodeId) -> Result<(), MemberError> {
        self.leave_first(id).await?;
        let decide = |view: &MembershipView| Ok(view.get(id).map(|_| Change::Remove(id.clone())));
        self.replica().raft.change(&decide).await
    }

    /// Puts the node at `address` in the place of member `id`, whose disk is lost: `id` with a new, empty directory, or
    /// a node of another id. Removes `id`, makes the node a learner, and a voter once it has caught up; waits at most
    /// `wait` for that. Call it on the master, and again if it was interrupted.
    ///
    /// # Errors
    /// As [`Ledger::add_learner`], [`Ledger::promote`] and [`Ledger::remove_member`].
    pub async fn replace_member(&self, id: &NodeId, address: &str, wait: Duration) -> Result<Member, MemberError> {
        self.leave_first(id).await?;
        let newcomer = self.identify(address).await?;
        let member = newcomer.member.clone();
        let view = self.replica().raft.membership();
        // An interrupted call may have removed the same id already.
        if member.id != *id && view.get(id).is_none() {
            return Err(view.unknown(id));
        }
        if member.id == *id {
            // The new disk needs the id.
            let decide = |view: &MembershipView| {
                match view.get(id).filter(|seen| seen.member.incarnation != member.incarnation) {
                    // Only once there is an empty node to put in its place.
                    Some(_) if !newcomer.empty => Err(self.not_empty(&newcomer)),
                    old => Ok(old.map(|_| Change::Remove(id.clone()))),
                }
            };
            self.replica().raft.change(&decide).await?;
        }
        self.add(&newcomer).await?;
        self.promote(&member.id, wait).await?;
        if member.id != *id {
            self.remove_member(id).await?;
        }
        Ok(member)
    }

    /// Notes in the membership that member `id` is reached at `address` from now on. It must be there already, with the
    /// same disk. Call it on the master; a master that has moved hands over first, and the call must then be made on
    /// the next one. The only voter has nobody to hand over to: it can note only the address that it advertises.
    ///
    /// # Errors
    /// This is not the master, or another node answers there.
    pub async fn move_member(&self, id: &NodeId, address: &str) -> Result<(), MemberError> {
        self.check_master()?;
        if self.is_only_voter(id) {
            return self.move_myself(id, address).await;
        }
        self.leave_first(id).await?;
        let found = self.identify(address).await?.member;
        if found.id != *id {
            let reason = format!("{} answers there, not {id}", found.id);
            return Err(MemberError::Unfit { address: address.to_owned(), reason });
        }
        let decide = |view: &MembershipView| match view.get(id) {
            None => Err(view.unknown(id)),
            Some(seen) if seen.member.incarnation != found.incarnation => {
                Err(other_disk(&seen.member, found.incarnation))
            }
            Some(seen) if seen.member.address == address => Ok(None),
            Some(_) => Ok(Some(Change::Move(id.clone(), address.to_owned()))),
        };
        self.replica().raft.change(&decide).await
    }

    /// Whether there is no other voter than `id`, which is this node.
    fn is_only_voter(&self, id: &NodeId) -> bool {
        let view = self.replica().raft.membership();
        let others = view.members.iter().any(|seen| seen.voter && seen.member.id != *id);
        *id == self.replica().identity.node && !others
    }

    /// No other member can confirm the address. Members compare the address in a node's calls with the membership, so
    /// the node can move only to the address that it advertises.
    async fn move_myself(&self, id: &NodeId, address: &str) -> Result<(), MemberError> {
        let advertised = self.advertised();
        if address != advertised {
            let reason = format!("{id} advertises {advertised}: start it with --advertise {address} first");
            return Err(MemberError::Unfit { address: address.to_owned(), reason });
        }
        let decide = |view: &MembershipView| match view.get(id) {
            None => Err(view.unknown(id)),
            Some(seen) if seen.member.address == address => Ok(None),
            Some(_) => Ok(Some(Change::Move(id.clone(), address.to_owned()))),
        };
        self.replica().raft.change(&decide).await
    }

    pub(in crate::node) fn check_master(&self) -> Result<(), MemberError> {
        if self.replica().raft.membership().leads { Ok(()) } else { Err(self.not_master()) }
    }

    /// A master does not remove or move itself: it hands over, and the next master does.
    async fn leave_first(&self, id: &NodeId) -> Result<(), MemberError> {
        self.check_master()?;
        if *id != self.replica().identity.node {
            return Ok(());
        }
        self.hand_over().await?;
        Err(self.not_master())
    }

    /// Asks a member what it is; the member promises nothing by its answer.
    pub(in crate::node) async fn ask_member(&self, member: &Member) -> Result<pb::IdentifyResponse, TransportError> {
        let replica = self.replica();
        let (set_by, cluster) = {
            let view = replica.view.borrow();
            (view.set_by, view.cluster)
        };
        let envelope = pb::Envelope {
            sender_address: self.advertised().to_owned(),
            cluster_incarnation: incarnation_bytes(cluster),
            membership: set_by.map(from_log_id),
            ..envelope(&replica.identity, &member.id, Some(member.incarnation))
        };
        let (request, limit) = (look(&replica.identity, envelope), replica.timing.call());
        self.transport().link(&member.address, Lane::Control).identify(request, limit).await
    }

    /// Asks which node is at `address`.
    async fn identify(&self, address: &str) -> Result<Newcomer, MemberError> {
        let unfit = |reason: String| MemberError::Unfit { address: address.to_owned(), reason };
        checked_address(address).map_err(|why| unfit(why.to_string()))?;
        let identity = &self.replica().identity;
        let envelope = pb::Envelope {
            cluster_incarnation: incarnation_bytes(self.replica().view.borrow().cluster),
            ..envelope_to_anybody(identity)
        };
        let request = look(identity, envelope);
        let link = self.transport().link(address, Lane::Control);
        // Time to connect, and to ask.
        let limit = self.replica().timing.call() * 2;
        let answer = link.identify(request, limit).await.map_err(|error| unfit(error.to_string()))?;
        let id = answer.node.parse().map_err(|error| unfit(format!("it gives no name: {error}")))?;
        let incarnation =
            Incarnation::from_slice(&answer.incarnation).ok_or_else(|| unfit("it gives no incarnation".into()))?;
        let advertised = &answer.advertised_address;
        if !advertised.is_empty() && advertised != address {
            // Members that know it at another address would refuse its calls, which name its address.
            return Err(unfit(format!(
                "it advertises {advertised}: use that address, or start it with --advertise {address}"
            )));
        }
        self.compare_durability(&id, &answer.durability);
        let member = Member { id, address: address.to_owned(), incarnation };
        let cluster = Incarnation::from_slice(&answer.cluster_incarnation);
        Ok(Newcomer { member, empty: answer.empty, cluster, end: answer.end })
    }

    /// Warns if a new node has another durability than this one: an ack means only what both of them keep.
    pub(in crate::node) fn compare_durability(&self, node: &NodeId, theirs: &str) {
        let ours = self.replica().log.durability();
        if !theirs.is_empty() && theirs != ours {
            tracing::warn!(group = %self.group(), %node, theirs, ours,
                "--durability is not the same on all nodes, and an ack means only the weakest: make it the same");
        }
    }

    /// Why a node with a directory that is not empty cannot become a member, and what to do with what it holds.
    fn not_empty(&self, newcomer: &Newcomer) -> MemberError {
        let Newcomer { member, cluster, end, .. } = newcomer;
        let own = self.replica().view.borrow().cluster;
        let reason = match cluster {
            Some(theirs) if Some(*theirs) != own && *end > 0 => format!(
                "it is of another cluster, of incarnation {theirs}, and its ledger ends at index {end}: those may be \
                 records that nobody here has. Compare them first (`dledger read --node {}` with that node as the only \
                 peer), append here what is wanted and not here, then give it an empty directory",
                member.id
            ),
            Some(theirs) if Some(*theirs) != own => format!(
                "it is of another cluster, of incarnation {theirs}, which has no records. Give it an empty directory, \
                 and start it with --join"
            ),
            _ => "its ledger is not empty: it was a member of a cluster before. Give it an empty directory".into(),
        };
        MemberError::Unfit { address: member.address.clone(), reason }
    }
}

fn other_disk(known: &Member, found: Incarnation) -> MemberError {
    MemberError::OtherDisk {
        id: known.id.clone(),
        known: known.incarnation.to_string(),
        address: known.address.clone(),
        found: found.to_string(),
    }
}
