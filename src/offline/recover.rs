//! [`StoppedLedger::make_new_cluster`]: makes a cluster of one of a survivor, when the quorum of its cluster is lost
//! for good.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use serde::Serialize;

use super::survey::Surveyed;
use super::{OfflineError, StoppedLedger};
use crate::format::entry::EntryKind;
use crate::format::frame::{Draft, Frame};
use crate::format::hard_state::HardVote;
use crate::log::directory::{self, Directory, Identity, io_error};
use crate::log::recovery::Decision;
use crate::log::threads::{BackgroundThread, FlushThread};
use crate::log::{Log, LogOptions, offline_access};
use crate::raft::storage::snapshot;
use crate::types::{Incarnation, checked_address};
use crate::wire::pb;

/// A cluster of one that was made, or is planned, of a survivor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewCluster {
    /// The cluster's name, which stays the same.
    pub cluster: String,
    /// The ledger.
    pub group: String,
    /// The node, the only member of the new cluster.
    pub node: String,
    /// The address at which the node is reached.
    pub address: String,
    /// Lowest index that is stored.
    pub first: u64,
    /// Index after the last stored record. All stored records become committed records of the new cluster.
    pub end: u64,
    /// Index after the last record that this node knew to be committed. Nobody can say whether later records were
    /// acknowledged, so they stay too.
    pub committed: u64,
    /// The members that are given up.
    pub given_up: Vec<GivenUpMember>,
    /// Incarnation of the cluster that is given up, if it had one.
    pub old_incarnation: Option<String>,
    /// Incarnation of the new cluster; `None` while the cluster is only planned.
    pub incarnation: Option<String>,
}

/// A member of the cluster that is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenUpMember {
    /// The member's id.
    pub node: String,
    /// The address at which the member was reached.
    pub address: String,
}

/// What [`StoppedLedger::plan_new_cluster`] collects from the log.
struct LogFacts {
    /// The newest membership, and the number of its entry.
    membership: Option<(u64, pb::Membership)>,
    /// Index after the last record known to be committed.
    committed: u64,
    /// The entry that the snapshot ends with, until the survey sees it. A snapshot made here ends with a stored entry.
    /// If the survey never sees the entry, the snapshot came from a leader, and a start begins the log anew behind it.
    pending: Option<pb::LogId>,
}

impl StoppedLedger {
    /// What [`StoppedLedger::make_new_cluster`] would do. Writes nothing.
    ///
    /// # Errors
    /// As [`StoppedLedger::make_new_cluster`], unless the system fails a write.
    pub fn plan_new_cluster(&self, address: Option<&str>) -> Result<NewCluster, OfflineError> {
        let (directory, start) = (self.directory.as_ref()?, self.start.as_ref()?);
        let verdict = offline_access::start_verdict(&self.disk, directory)?;
        if verdict.decision == Decision::Refuse {
            return Err(OfflineError::StartRefused { why: verdict.damage.to_string() });
        }
        let begins_anew = |why: String| OfflineError::BeginsAnew { dir: self.path.clone(), why };
        if verdict.decision == Decision::Restart {
            let begins = self.base().map_or(0, |base| base.index);
            return Err(begins_anew(format!("a reset was interrupted, and the log begins anew at index {begins}")));
        }
        let identity = directory.identity();
        let no_member = |why: String| OfflineError::NotAMember { dir: self.path.clone(), why };
        let in_snapshot = start.snapshot.as_deref().map(pb::SnapshotRequest::decode).transpose();
        let in_snapshot = in_snapshot.map_err(|error| no_member(format!("its snapshot cannot be read: {error}")))?;
        let pending = in_snapshot.as_ref().and_then(|snapshot| snapshot.start.and(snapshot.last_log_id));
        let pending = pending.filter(|last| start.purged.is_none_or(|purged| purged.number < last.number));
        let in_snapshot = in_snapshot
            .and_then(|snapshot| snapshot.membership)
            .and_then(|stored| Some((stored.log_id.map_or(0, |id| id.number), stored.membership?)));
        let noted = offline_access::noted(self.disk.as_ref(), directory)?.committed.index;
        let mut found = LogFacts { membership: in_snapshot, committed: noted, pending };
        self.survey(0..u64::MAX, &mut |seen| found.see(seen, verdict.end.number))?;
        if let Some(pb::LogId { term, number }) = found.pending {
            let why = "the installation of a snapshot was interrupted, and the log begins anew behind entry";
            return Err(begins_anew(format!("{why} {number} of term {term}")));
        }
        let Some((_, membership)) = found.membership.filter(|(_, membership)| !membership.configs.is_empty()) else {
            return Err(no_member("it has no membership: it was never a member of a cluster".into()));
        };
        if is_alone(&membership, identity) {
            return Err(OfflineError::AloneAlready { dir: self.path.clone(), node: identity.node.to_string() });
        }
        let me = membership.members.iter().find(|member| member.id == identity.node.as_str());
        let address = match (address, me) {
            (Some(address), _) => checked_address(address)
                .map_err(|why| no_member(format!("the address {address:?} cannot be read: {why}")))?,
            (None, Some(me)) => me.address.clone(),
            (None, None) => {
                return Err(no_member(format!("{} is not among its members: name its address", identity.node)));
            }
        };
        let others = membership.members.iter().filter(|member| member.id != identity.node.as_str());
        Ok(NewCluster {
            cluster: identity.cluster.to_string(),
            group: identity.group.to_string(),
            node: identity.node.to_string(),
            address,
            first: self.base().map_or(0, |base| base.index),
            end: verdict.end.index,
            committed: found.committed.min(verdict.end.index),
            given_up: others.map(|m| GivenUpMember { node: m.id.clone(), address: m.address.clone() }).collect(),
            old_incarnation: Incarnation::from_slice(&membership.cluster_incarnation).map(|old| old.to_string()),
            incarnation: None,
        })
    }

    /// Makes the node of this directory a cluster of one. All records that the node stores keep their indexes and
    /// positions. This is for the case that the quorum of the node's cluster is lost for good: acknowledged records
    /// that never reached this node are lost too, so choose the survivor that stores most.
    ///
    /// The cluster gets another incarnation, and the directory another disk: from then on this node and the members
    /// that are given up refuse each other, should those ever come back. `address`: where the node is reached, if that
    /// has changed.
    ///
    /// If a call was interrupted, call again: until a call succeeds, the node of the directory takes part in no
    /// cluster.
    ///
    /// # Errors
    /// If a start would refuse the directory, or would begin its log anew; if the directory holds no membership, or its
    /// node is already a cluster of one; or the system fails.
    pub fn make_new_cluster(self, address: Option<&str>) -> Result<NewCluster, OfflineError> {
        let mut made = self.plan_new_cluster(address)?;
        let (disk, path) = (self.disk.clone(), self.path.clone());
        let (Ok(old), Ok(version)) = (self.identity().cloned(), self.directory.as_ref().map(Directory::version)) else {
            return Ok(made);
        };
        // The log must be on the disk: nothing of a copied directory may have been synced yet.
        offline_access::sync_all(disk.as_ref(), &path)?;
        // The identity changes first: a node on a disk that the membership does not name asks for no votes, and no
        // member listens to it.
        let identity = Identity { incarnation: Incarnation::random(), ..old };
        directory::replace_identity(disk.as_ref(), &path, &identity, version)?;
        // Releases the lock, which `Log::open` takes again.
        drop(self);
        let system = |op: &'static str| {
            let path = path.clone();
            move |error| OfflineError::from(io_error(op, &path)(error))
        };
        let options = LogOptions {
            segment_size: identity.segment_size,
            interval: None,
            scheduler: Arc::new(FlushThread::start().map_err(system("start a thread for"))?),
            background: Arc::new(BackgroundThread::start().map_err(system("start a thread for"))?),
        };
        let (mut log, _) = Log::open(disk, path.clone(), identity.clone(), options)?;
        snapshot::finish_install(&mut log).map_err(system("begin anew the log in"))?;
        let reader = log.reader();
        let incarnation = Incarnation::random();
        let member = pb::Member {
            id: made.node.clone(),
            address: made.address.clone(),
            incarnation: identity.incarnation.to_bytes().to_vec().into(),
        };
        let membership = pb::Membership {
            configs: vec![pb::Voters { ids: vec![made.node.clone()] }],
            members: vec![member],
            cluster_incarnation: incarnation.to_bytes().to_vec().into(),
        };
        // As the leader of a term that no other node has seen.
        let term = reader.vote().map_or(0, |vote| vote.term).max(log.end().term) + 1;
        let vote = HardVote { term, node: Some(identity.node.clone()), granted: true };
        log.save_vote(vote).map_err(system("save the vote in"))?;
        let draft = Draft::control(EntryKind::Membership, &membership.encode_to_vec());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        log.append_draft(draft, term, now).map_err(system("append the membership in"))?;
        (made.first, made.end) = (reader.progress().first(), log.end().index);
        log.closer().close().map_err(system("sync the log in"))?;
        made.incarnation = Some(incarnation.to_string());
        Ok(made)
    }
}

/// Whether this node with this disk is the only member. A directory in which `make_new_cluster` was interrupted has a
/// disk that no membership names.
fn is_alone(membership: &pb::Membership, identity: &Identity) -> bool {
    let me = |member: &pb::Member| {
        member.id == identity.node.as_str() && member.incarnation[..] == identity.incarnation.to_bytes()[..]
    };
    membership.members.len() == 1 && membership.members.iter().all(me)
}

impl LogFacts {
    fn see(&mut self, seen: Surveyed<'_>, end: u64) -> Result<(), OfflineError> {
        let Surveyed::Entry { header, bytes, fits: true } = seen else { return Ok(()) };
        self.committed = self.committed.max(header.committed);
        self.pending = self.pending.filter(|last| (last.term, last.number) != (header.term, header.number));
        let newer = self.membership.as_ref().is_none_or(|(number, _)| *number < header.number);
        if header.kind == EntryKind::Membership && newer && header.number < end {
            let frames = Frame::parse_all(bytes.to_vec().into()).ok();
            let body = frames.and_then(|frames| frames.first().map(Frame::body));
            if let Some(membership) = body.and_then(|body| pb::Membership::decode(body).ok()) {
                self.membership = Some((header.number, membership));
            }
        }
        Ok(())
    }
}
