//! What the members have acknowledged to this node while it leads, and which of them came back with less.
//!
//! A member acknowledges an entry when it is where its durability says, so it never has less later: unless its disk was
//! lost or set back, its log was cut by hand, or, with `Durability::Interval`, its power failed. From the moment a
//! conflict shows this, Raft counts the member for what it has. [`MemberAcks`] keeps what the operator is told.
//!
//! The leader's heartbeats also tell each member what it has acknowledged: see
//! [`lost_entries`](crate::raft::election::lost_entries).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::raft::log_id::{LogId, RaftVote};
use crate::types::{Group, Incarnation, NodeId};

/// The index after the last record up to an entry, if this node knows it.
pub(crate) type IndexAfter = Arc<dyn Fn(u64) -> Option<u64> + Send + Sync>;

/// Whether this node's log has an entry, or had it (only committed entries are removed).
pub(crate) type Holds = Arc<dyn Fn(LogId) -> bool + Send + Sync>;

/// What the members of one ledger have acknowledged. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MemberAcks {
    group: Group,
    state: Arc<Mutex<AcksState>>,
    index_after: IndexAfter,
    holds: Holds,
    /// Whether entries are synced before a member acknowledges them, and so survive a loss of power.
    lasting: bool,
}

#[derive(Default)]
struct AcksState {
    /// The vote under which this node leads, or led last.
    leader: Option<RaftVote>,
    /// The members' acks, by disk.
    members: BTreeMap<Incarnation, MemberAck>,
}

#[derive(Default)]
struct MemberAck {
    /// The last entry that the member has ever acknowledged.
    most: Option<LogId>,
    /// The last entry that the member has acknowledged, and that no conflict has shown it to lack since.
    now: Option<LogId>,
    /// How often a conflict showed that the member has less than it acknowledged.
    losses: u64,
    lost: Option<Loss>,
}

/// What a member was found to lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss {
    had: LogId,
    /// The last entry of the member's log; `None`: it has none, or did not say.
    has: Option<LogId>,
}

impl AcksState {
    /// The members' acks under `leader`; `None` if its term is over.
    ///
    /// If this node leads again in a later term, it keeps the acks of entries that it still has: the members that
    /// acknowledged those have them too. The other entries were cut here, and perhaps on the members.
    fn under(&mut self, leader: &RaftVote, holds: &Holds) -> Option<&mut BTreeMap<Incarnation, MemberAck>> {
        let term = |vote: &RaftVote| vote.leader_id.term;
        match &self.leader {
            Some(current) if current == leader => {}
            Some(current) if term(current) >= term(leader) => return None,
            _ => {
                self.members.retain(|_, acked| acked.most.is_some_and(|most| holds(most)));
                self.leader = Some(leader.clone());
            }
        }
        Some(&mut self.members)
    }
}

impl MemberAcks {
    /// `lasting`: members sync entries before they acknowledge them.
    pub(crate) fn new(group: Group, index_after: IndexAfter, holds: Holds, lasting: bool) -> Self {
        Self { group, state: Arc::default(), index_after, holds, lasting }
    }

    fn state(&self) -> MutexGuard<'_, AcksState> {
        self.state.lock()
    }

    /// Notes that the member has all entries up to `matched`.
    pub(crate) fn note(&self, leader: &RaftVote, (id, disk): (&NodeId, Incarnation), matched: LogId) {
        let mut state = self.state();
        let Some(acked) = state.under(leader, &self.holds).map(|members| members.entry(disk).or_default()) else {
            return;
        };
        if acked.now >= Some(matched) {
            return;
        }
        let lacked = acked.lacks();
        acked.now = Some(matched);
        acked.most = acked.most.max(Some(matched));
        if lacked && !acked.lacks() {
            tracing::info!(group = %self.group, node = %id, upto = %matched,
                "the member has again what it had acknowledged");
        }
    }

    /// Notes that the member does not have the leader's entry `at`. `has`: the end of its log, if it says so.
    pub(crate) fn lacks(&self, leader: &RaftVote, (id, disk): (&NodeId, Incarnation), at: LogId, has: Option<LogId>) {
        let mut state = self.state();
        let Some(acked) = state.under(leader, &self.holds).and_then(|members| members.get_mut(&disk)) else { return };
        let (Some(now), Some(had)) = (acked.now, acked.most) else { return };
        if has.is_some_and(|has| has.leader_id > had.leader_id) {
            // A leader in between had the member cut entries that it had acknowledged and that were not committed.
            (acked.now, acked.most) = (None, None);
            return;
        }
        // A member that lacks an entry it never acknowledged has lost nothing, unless its log ends before its last ack.
        if at.index > now.index && has.is_none_or(|has| has >= now) {
            return;
        }
        acked.now = has.filter(|has| has.index < at.index.min(now.index));
        acked.losses += 1;
        let loss = Loss { had, has };
        acked.lost = Some(loss);
        drop(state);
        let (group, had, has) = (&self.group, self.place(Some(had)), self.place(has));
        if self.lasting {
            tracing::error!(%group, node = %id, %disk, %had, %has,
                "a member has less than it acknowledged: its disk was lost \
                or set back, or its log was cut; it counts for what it has, and is brought up to date");
        } else {
            tracing::warn!(%group, node = %id, %disk, %had, %has,
                "a member has less than it acknowledged, as can be \
                after a loss of power where nodes sync at intervals; it counts for what it has, and is brought up to \
                date");
        }
    }

    /// How often the disk was found to have less than it acknowledged.
    pub(crate) fn losses(&self, disk: Incarnation) -> u64 {
        self.state().members.get(&disk).map_or(0, |acked| acked.losses)
    }

    /// The last entry that the member has acknowledged, for the leader to remind it of; `None` where a loss of power
    /// may have taken that entry.
    pub(crate) fn reminder(&self, leader: &RaftVote, disk: Incarnation) -> Option<LogId> {
        let mut state = self.state();
        state.under(leader, &self.holds).and_then(|members| members.get(&disk)?.most).filter(|_| self.lasting)
    }

    /// What a member has lost, if this node leads in `term`. With `Durability::Interval` a loss is no alarm.
    pub(crate) fn alarm(&self, term: u64, id: &NodeId, disk: Incarnation) -> Option<String> {
        let state = self.state();
        state.leader.as_ref().filter(|leader| self.lasting && leader.leader_id.term == term)?;
        let acked = state.members.get(&disk)?;
        let (Loss { had, has }, lacks) = (acked.lost?, acked.lacks());
        drop(state);
        let (had, has) = (self.place(Some(had)), self.place(has));
        let now = match lacks {
            true => "it counts for what it has until it has the rest again",
            false => "it has all of it again",
        };
        let why = "its disk was lost or set back, or its log was cut";
        Some(format!("{id} had acknowledged {had} and came back with {has}: {why}; {now}"))
    }

    fn place(&self, id: Option<LogId>) -> LogEnd {
        let number = id.map(|id| id.index);
        LogEnd { number, records: number.and_then(|number| (self.index_after)(number)) }
    }
}

impl MemberAck {
    /// Whether the member lacks an entry that it has acknowledged.
    fn lacks(&self) -> bool {
        self.now < self.most
    }
}

/// The end of a log, as the operator reads it.
struct LogEnd {
    number: Option<u64>,
    /// Index after its last record, if this node knows it.
    records: Option<u64>,
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, self.records) {
            (None, _) => write!(f, "nothing"),
            (Some(number), None) => write!(f, "entries to {number}"),
            (Some(number), Some(records)) => write!(f, "entries to {number} (records below {records})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::raft::log_id::log_id;

    #[test]
    fn a_member_that_lacks_what_it_acknowledged_is_named_with_what_it_had_and_has() {
        let acked = MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), Arc::new(|_| true), true);
        let (id, disk) = (NodeId::new(1), Incarnation::from_u128(7));
        let leader = RaftVote::new_committed(3, NodeId::new(0));
        let member = (&id, disk);
        // A conflict above what it acknowledged is how a leader looks for the end of a log.
        acked.lacks(&leader, member, log_id(3, 90), Some(log_id(2, 5)));
        acked.note(&leader, member, log_id(3, 60));
        acked.lacks(&leader, member, log_id(3, 90), Some(log_id(3, 60)));
        assert_eq!((acked.alarm(3, &id, disk), acked.losses(disk)), (None, 0));
        assert_eq!(acked.reminder(&leader, disk), Some(log_id(3, 60)));

        acked.lacks(&leader, member, log_id(3, 60), Some(log_id(2, 20)));
        let alarm = acked.alarm(3, &id, disk).unwrap();
        assert!(alarm.starts_with("n1 had acknowledged entries to 60 and came back with entries to 20:"), "{alarm}");
        assert!(alarm.ends_with("it counts for what it has until it has the rest again"), "{alarm}");
        // While the leader looks for the end of its log, that is not another loss.
        acked.lacks(&leader, member, log_id(3, 40), Some(log_id(2, 20)));
        acked.note(&leader, member, log_id(2, 20));
        assert_eq!((acked.losses(disk), acked.reminder(&leader, disk)), (1, Some(log_id(3, 60))));
        acked.note(&leader, member, log_id(3, 61));
        assert!(acked.alarm(3, &id, disk).unwrap().ends_with("it has all of it again"));
        // Only the leader of that term raises the alarm.
        assert_eq!(acked.alarm(4, &id, disk), None);
    }

    #[test]
    fn who_leads_again_knows_what_was_acknowledged_as_far_as_it_has_it_still() {
        let kept = Arc::new(AtomicU64::new(99));
        let holds = {
            let kept = kept.clone();
            Arc::new(move |id: LogId| id.index <= kept.load(Ordering::Relaxed))
        };
        let acked = MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), holds, true);
        let (id, disk) = (NodeId::new(1), Incarnation::from_u128(7));
        let leader = |term| RaftVote::new_committed(term, NodeId::new(0));
        let member = (&id, disk);
        acked.note(&leader(3), member, log_id(3, 60));
        assert_eq!(acked.reminder(&leader(5), disk), Some(log_id(3, 60)));
        // A leader of an earlier term changes nothing any more.
        acked.note(&leader(3), member, log_id(3, 99));
        assert_eq!(acked.reminder(&leader(5), disk), Some(log_id(3, 60)));
        // The leader asks the member for an entry of the new term, which it cannot have: no loss.
        acked.lacks(&leader(5), member, log_id(5, 61), Some(log_id(3, 60)));
        assert_eq!((acked.alarm(5, &id, disk), acked.losses(disk)), (None, 0));
        // A log that ends before the member's last ack is a loss.
        acked.lacks(&leader(5), member, log_id(5, 61), Some(log_id(2, 20)));
        acked.lacks(&leader(5), member, log_id(3, 40), Some(log_id(2, 20)));
        assert_eq!(acked.losses(disk), 1);
        assert!(acked.alarm(5, &id, disk).unwrap().contains("entries to 60 and came back with entries to 20"));
        // Another leader had the member cut its log's end, which this leader never heard of.
        acked.note(&leader(5), member, log_id(5, 61));
        acked.lacks(&leader(8), member, log_id(5, 61), Some(log_id(7, 40)));
        assert_eq!((acked.reminder(&leader(8), disk), acked.losses(disk)), (None, 1));
        // Or this node cut its own log's end as well.
        acked.note(&leader(8), member, log_id(8, 62));
        kept.store(61, Ordering::Relaxed);
        assert_eq!((acked.reminder(&leader(9), disk), acked.losses(disk)), (None, 0));
    }

    #[test]
    fn with_an_interval_a_loss_is_no_alarm_and_nobody_is_reminded() {
        let acked = MemberAcks::new("g".parse().unwrap(), Arc::new(|_| None), Arc::new(|_| true), false);
        let (id, disk) = (NodeId::new(1), Incarnation::from_u128(7));
        let leader = RaftVote::new_committed(3, NodeId::new(0));
        acked.note(&leader, (&id, disk), log_id(3, 60));
        acked.lacks(&leader, (&id, disk), log_id(3, 60), None);
        assert_eq!((acked.losses(disk), acked.alarm(3, &id, disk), acked.reminder(&leader, disk)), (1, None, None));
    }
}
