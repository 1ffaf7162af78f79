//! The calls of a history: who made them, when, and how they ended.

use std::collections::HashMap;
use std::mem;

use crate::findings::{Findings, moment};
use crate::{Answer, Call, Hash};
use dledger::Consistency;

/// Number of a call in the order of the lines.
pub(super) type CallId = u32;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It has not ended, or nobody knows how.
    Open,
    Answered,
    Failed,
    Unknown,
}

/// A call.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) op: u64,
    pub(super) client: u64,
    pub(super) at: u64,
    pub(super) ended: Option<u64>,
    pub(super) end: End,
    /// What was called. An append gives its hashes away when it ends, to save memory.
    pub(super) call: Call,
    /// How many records an append has.
    pub(super) records: u32,
}

impl Made {
    pub(super) fn session(&self) -> Option<u64> {
        match self.call {
            Call::Append { session, .. } => session,
            _ => None,
        }
    }

    /// Whether its answer must contain all that was acknowledged before it was called.
    pub(super) fn promises(&self) -> bool {
        match self.call {
            Call::Get { consistency, .. } | Call::Read { consistency, .. } => consistency != Consistency::Local,
            _ => false,
        }
    }
}

/// All calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: Vec<Made>,
    by_op: HashMap<u64, CallId>,
    owners: HashMap<Hash, Owner>,
}

/// Who appended a record, and where it turned up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) call: CallId,
    /// Which of the records of its call it is.
    pub(super) nth: u32,
    /// Where it is in the log, once that is known.
    pub(super) placed: Option<u64>,
}

impl Calls {
    pub(super) fn get(&self, id: CallId) -> &Made {
        &self.made[id as usize]
    }

    pub(super) fn all(&self) -> &[Made] {
        &self.made
    }

    pub(super) fn owner(&mut self, hash: &Hash) -> Option<&mut Owner> {
        self.owners.get_mut(hash)
    }

    pub(super) fn owner_of(&self, hash: &Hash) -> Option<Owner> {
        self.owners.get(hash).copied()
    }

    /// A client calls.
    pub(super) fn invoke(
        &mut self,
        at: u64,
        client: u64,
        op: u64,
        call: Call,
        findings: &mut Findings,
    ) -> Option<CallId> {
        let Ok(id) = CallId::try_from(self.made.len()) else {
            findings.invalid(|| format!("call {op} is one too many: at most {} can be judged", CallId::MAX));
            return None;
        };
        if self.by_op.contains_key(&op) {
            findings.invalid(|| format!("two calls have the number {op}: number them uniquely"));
            return None;
        }
        let mut records = 0;
        if let Call::Append { records: hashes, .. } = &call {
            if hashes.is_empty() {
                findings.invalid(|| format!("call {op} appends no records: leave it out"));
            }
            for hash in hashes {
                let owner = Owner { call: id, nth: records, placed: None };
                if let Some(other) = self.owners.insert(*hash, owner) {
                    // The first one keeps it.
                    self.owners.insert(*hash, other);
                    let first = self.made.get(other.call as usize).map_or(op, |made| made.op);
                    findings.invalid(|| {
                        format!(
                            "calls {first} and {op} append equal records ({hash}), and nobody can tell them apart: \
                             give every record something of its own, and a retry too"
                        )
                    });
                }
                records += 1;
            }
        }
        self.by_op.insert(op, id);
        self.made.push(Made { op, client, at, ended: None, end: End::Open, call, records });
        Some(id)
    }

    /// The call with the number `op` if it is still under way.
    pub(super) fn open(&mut self, op: u64, findings: &mut Findings) -> Option<CallId> {
        let Some(&id) = self.by_op.get(&op) else {
            findings.invalid(|| format!("an answer to call {op}, and no such call was made before"));
            return None;
        };
        if self.made[id as usize].end != End::Open {
            findings.invalid(|| format!("call {op} ends twice"));
            return None;
        }
        Some(id)
    }

    /// The call ended. Returns the hashes of an append.
    pub(super) fn end(&mut self, id: CallId, at: u64, end: End) -> Vec<Hash> {
        let made = &mut self.made[id as usize];
        made.ended = Some(at);
        made.end = end;
        match &mut made.call {
            Call::Append { records, .. } => mem::take(records),
            _ => Vec::new(),
        }
    }

    /// `call 3 (client 1's append, called at 0.5 s, answered at 0.6 s)`.
    pub(super) fn words(&self, id: CallId) -> String {
        let made = self.get(id);
        let what = match &made.call {
            Call::Append { .. } if made.records == 1 => "append".to_owned(),
            Call::Append { .. } => format!("append of {} records", made.records),
            Call::Get { index, consistency, .. } => format!("{consistency} get of {index}"),
            Call::Read { from, consistency, .. } => format!("{consistency} read from {from}"),
            Call::Tail { from, .. } => format!("tail from {from}"),
            Call::Members { change } => format!("change of the members: {change}"),
            Call::Transfer { to } => format!("transfer to {to}"),
            Call::RemoveBelow { index, node } => format!("removal below {index} on {node}"),
        };
        let ended = made.ended.map(moment);
        let ended = match (made.end, ended) {
            (End::Answered, Some(at)) => format!("answered at {at}"),
            (End::Failed, Some(at)) => format!("failed at {at}"),
            (End::Unknown, Some(at)) => format!("of unknown outcome at {at}"),
            _ => "never answered".to_owned(),
        };
        format!("call {} (client {}'s {what}, called at {}, {ended})", made.op, made.client, moment(made.at))
    }
}

/// Whether `answer` can be an answer to `call`, and if not, why.
pub(super) fn fits(call: &Call, answer: &Answer) -> Result<(), String> {
    match (call, answer) {
        (Call::Append { records, .. }, Answer::Acked { acks }) if records.len() == acks.len() => Ok(()),
        (Call::Append { records, .. }, Answer::Acked { acks }) => {
            Err(format!("appends {} records and has {} acks", records.len(), acks.len()))
        }
        (Call::Get { .. } | Call::Read { .. }, Answer::Found { records }) if records.is_empty() => {
            Err("found no records: write `absent` with the index".to_owned())
        }
        (Call::Get { .. }, Answer::Found { records }) if records.len() > 1 => {
            Err(format!("asks for one record and has {}", records.len()))
        }
        (Call::Read { count, .. }, Answer::Found { records }) if records.len() as u64 > *count => {
            Err(format!("asks for at most {count} records and has {}", records.len()))
        }
        (Call::Tail { .. }, Answer::Found { records }) if !records.is_empty() => {
            Err("is a tail, whose records belong into `seen`".to_owned())
        }
        (Call::Get { index: asked, .. } | Call::Read { from: asked, .. }, Answer::Absent { index })
            if index < asked || (index > asked && matches!(call, Call::Get { .. })) =>
        {
            Err(format!("asks for {asked} and is told that {index} is absent"))
        }
        (
            Call::Get { index: asked, .. } | Call::Read { from: asked, .. } | Call::Tail { from: asked, .. },
            Answer::Removed { first },
        ) if first <= asked => Err(format!("asks for {asked} and is told that the log begins at {first}")),
        (
            Call::Get { .. } | Call::Read { .. },
            Answer::Found { .. } | Answer::Absent { .. } | Answer::Removed { .. },
        )
        | (Call::Tail { .. }, Answer::Found { .. } | Answer::Removed { .. } | Answer::Done)
        | (Call::Members { .. } | Call::Transfer { .. } | Call::RemoveBelow { .. }, Answer::Done) => Ok(()),
        _ => Err("has an answer to another kind of call".to_owned()),
    }
}
