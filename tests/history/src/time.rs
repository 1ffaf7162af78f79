//! Sessions and real time: the order of the log beside the order of the calls.
//!
//! Index *i* became visible at some moment *T(i)*, and *T* never falls from one index to the next. Each call bounds
//! it: a record is there by the time its append is answered, or any reader has it, and not before its append is called,
//! or a read that found nothing there and promises what it sees. The history can be put into one order that
//! respects time if and only if the highest lower bound up to each index is not above its upper bound: one pass. The
//! records of one append become visible together, and count as one. Two events of the same moment are concurrent.

use std::collections::HashMap;

use crate::calls::{CallId, Calls, End};
use crate::findings::{Findings, moment};
use crate::log::{Bound, Log};
use crate::order::Known;
use crate::{Call, Law};

/// The latest moment at which an index was not there yet.
#[derive(Clone, Copy)]
struct Not {
    bound: Bound,
    index: u64,
}

/// Nothing is seen too early or missed too late.
pub(super) fn real_time(order: &[Known], log: &Log, calls: &Calls, findings: &mut Findings) {
    let mut absent: Vec<_> = log.absent.iter().map(|(index, bound)| Not { bound: *bound, index: *index }).collect();
    absent.sort_unstable_by_key(|not| not.index);
    let mut absent = absent.into_iter().peekable();
    let mut latest: Option<Not> = None;
    let raise = |latest: &mut Option<Not>, not: Not| {
        if latest.is_none_or(|latest| not.bound.at > latest.bound.at) {
            *latest = Some(not);
        }
    };
    let mut rest = order;
    while let Some(first) = rest.first() {
        let together = rest
            .iter()
            .enumerate()
            .take_while(|(n, known)| *n == 0 || (known.index - first.index == *n as u64 && same_append(first, known)));
        let (group, behind) = rest.split_at(together.count().max(1));
        rest = behind;
        let end = group.last().map_or(first.index, |last| last.index);
        while let Some(not) = absent.next_if(|not| not.index <= end) {
            raise(&mut latest, not);
        }
        if let Some((call, _)) = first.owner {
            raise(&mut latest, Not { bound: Bound { at: calls.get(call).at, call }, index: first.index });
        }
        let by = group.iter().filter_map(|known| known.by.map(|by| (known.index, by))).min_by_key(|(_, by)| by.at);
        if let (Some(not), Some((index, by))) = (latest, by)
            && not.bound.at > by.at
        {
            violated(index, by, not, calls, findings);
        }
    }
}

fn same_append(one: &Known, two: &Known) -> bool {
    matches!((one.owner, two.owner), (Some((one, _)), Some((two, _))) if one == two)
}

fn violated(index: u64, by: Bound, not: Not, calls: &Calls, findings: &mut Findings) {
    let (earlier, later) = (calls.get(by.call), calls.get(not.bound.call));
    findings.broken(Law::RealTime, |about| {
        let verb = match earlier.call {
            Call::Append { .. } => "was acknowledged",
            Call::Tail { .. } => "delivered it",
            _ => "returned it",
        };
        let why = if later.promises() { "found nothing at" } else { "is what appended" };
        about.index(index).op(earlier.op).op(later.op).at(by.at).says(format!(
            "Index {index} was there at {}, when {} {verb}. Yet {}, which was called after that, {why} index {}.",
            moment(by.at),
            calls.words(by.call),
            calls.words(not.bound.call),
            not.index
        ))
    });
}

/// Acknowledged appends of one session lie in the log in the order they were called, which is that of their lines. One
/// whose outcome is unknown may still have been on its way when later ones were answered.
pub(super) fn sessions(order: &[Known], calls: &Calls, findings: &mut Findings) {
    let mut last: HashMap<(u64, u64), (CallId, u64)> = HashMap::new();
    for known in order {
        let Some((call, _)) = known.owner else { continue };
        let made = calls.get(call);
        let Some(session) = made.session().filter(|_| made.end == End::Answered) else { continue };
        let (latest, index) = last.entry((made.client, session)).or_insert((call, known.index));
        if *latest <= call {
            (*latest, *index) = (call, known.index);
            continue;
        }
        findings.broken(Law::Session, |about| {
            let later = calls.get(*latest);
            about.index(known.index).op(made.op).op(later.op).says(format!(
                "In session {session}, {} came before {}, and lies behind it in the log: at index {} and at index \
                 {index}.",
                calls.words(call),
                calls.words(*latest),
                known.index
            ))
        });
    }
}
