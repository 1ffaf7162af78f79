//! The log in the end, index by index: whether it is what was promised, and from which moment each record was there.

use crate::calls::{CallId, Calls, End};
use crate::findings::{Findings, moment};
use crate::log::{Bound, Claim, Content, Held, Log};
use crate::{Hash, Law};

/// What is known of an index in the end.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) index: u64,
    pub(super) content: Content,
    /// The earliest moment by which it was there.
    pub(super) by: Option<Bound>,
    /// The append it is of, and which of the records of that call it is; `None` if no append has it.
    pub(super) owner: Option<(CallId, u32)>,
}

/// The log in the end, in the order of indexes: as the replicas hold it, and where they have removed it, as clients
/// saw it. An index is missing if it was removed and no client saw it.
pub(super) fn assemble(log: &Log, calls: &mut Calls, findings: &mut Findings) -> Vec<Known> {
    let known = |index, content, by| Known { index, content, by, owner: None };
    let mut order: Vec<Known> = Vec::with_capacity(log.held.len());
    for (&index, held) in &log.held {
        let claims = || log.claims.get(&index).into_iter().flat_map(|claims| claims.all());
        let acked = claims().find(|claim| claim.acked.is_some() && held.others.contains(&claim.content));
        // Where replicas differ, the log is what was acknowledged.
        let content = acked.map_or(held.content, |claim| claim.content);
        let by = claims().find(|claim| claim.content == content).and_then(|claim| claim.by);
        order.push(known(index, content, by));
    }
    for (&index, claims) in &log.claims {
        if !log.held.contains_key(&index) && !log.lacks(index) {
            order.push(known(index, claims.first.content, claims.first.by));
        }
    }
    order.sort_unstable_by_key(|known| known.index);
    for known in &mut order {
        place(known, calls, findings);
    }
    order
}

/// Finds the append of a record of the log.
fn place(known: &mut Known, calls: &mut Calls, findings: &mut Findings) {
    let (index, content) = (known.index, known.content);
    let Some(owner) = calls.owner(&content.hash) else {
        return findings.broken(Law::Phantom, |about| {
            about.index(index).says(format!("Index {index} holds the {}, which nobody appended.", content.words()))
        });
    };
    let before = owner.placed;
    owner.placed.get_or_insert(index);
    let owner = *owner;
    let made = calls.get(owner.call);
    if let Some(before) = before {
        findings.broken(Law::Twice, |about| {
            about.index(index).op(made.op).says(format!(
                "The record of {} is in the log twice: at index {before} and at index {index}.",
                calls.words(owner.call)
            ))
        });
    } else if made.end == End::Failed {
        findings.broken(Law::Failed, |about| {
            about.index(index).op(made.op).says(format!(
                "{} failed, so it must not have had any effect, and its record is at index {index}.",
                capital(&calls.words(owner.call))
            ))
        });
    } else {
        known.owner = Some((owner.call, owner.nth));
    }
}

/// Checks that the log in the end has all that calls were told.
pub(super) fn claims_hold(log: &Log, calls: &Calls, findings: &mut Findings) {
    let mut indexes: Vec<_> = log.claims.keys().copied().collect();
    indexes.sort_unstable();
    for index in indexes {
        let Some(claims) = log.claims.get(&index) else { continue };
        let held = log.held.get(&index);
        if held.is_none() && !log.lacks(index) {
            for other in &claims.others {
                disagree(index, &claims.first, other, calls, findings);
            }
            continue;
        }
        for claim in claims.all().filter(|claim| held.is_none_or(|held| !held.has(&claim.content))) {
            missing(index, claim, held, log, calls, findings);
        }
    }
}

/// Two calls were told different things of an index that has been removed meanwhile.
fn disagree(index: u64, one: &Claim, two: &Claim, calls: &Calls, findings: &mut Findings) {
    findings.broken(Law::Removed, |mut about| {
        let mut say = |claim: &Claim| {
            let told = claim.acked.or(claim.seen.map(|seen| seen.call));
            let who = told.map_or_else(|| "nobody".to_owned(), |call| calls.words(call));
            if let Some(call) = told {
                about = std::mem::take(&mut about).op(calls.get(call).op);
            }
            format!("{who} was told of the {}", claim.content.words())
        };
        let text = format!("At index {index}, {}, and {}.", say(one), say(two));
        about.index(index).says(text)
    });
}

/// A call was told of a record that is not there in the end.
fn missing(index: u64, claim: &Claim, held: Option<&Held>, log: &Log, calls: &Calls, findings: &mut Findings) {
    let law = if claim.acked.is_some() { Law::Acked } else { Law::Read };
    findings.broken(law, |mut about| {
        let mut text = String::new();
        if let Some(call) = claim.acked {
            about = about.op(calls.get(call).op);
            text += &format!("{} was acknowledged at index {index}. ", capital(&calls.words(call)));
        }
        if let Some(seen) = claim.seen {
            about = about.op(calls.get(seen.call).op).at(seen.at);
            let what = claim.content.words();
            text += &format!("At {}, {} saw the {what} at index {index}. ", moment(seen.at), calls.words(seen.call));
        }
        text += &match held {
            Some(held) if held.content.hash == claim.content.hash => {
                format!("In the end that is the {}, and not {}.", held.content.words(), claim.content.words())
            }
            Some(held) => {
                let owner = calls.owner_of(&held.content.hash);
                let whose = owner.map(|owner| format!(", of {}", calls.words(owner.call))).unwrap_or_default();
                format!("In the end, index {index} holds the {}{whose}.", held.content.words())
            }
            None => match log.end() {
                Some(end) if end <= index => format!("In the end, the log ends at index {end}."),
                _ => "In the end, no replica has a record there.".to_owned(),
            },
        };
        text += &elsewhere(index, &claim.content.hash, calls);
        about.index(index).says(text)
    });
}

/// What became of a record that is not where it was said to be.
fn elsewhere(index: u64, hash: &Hash, calls: &Calls) -> String {
    match calls.owner_of(hash) {
        None => " Nobody appended that record.".to_owned(),
        Some(owner) => match owner.placed {
            Some(placed) if placed != index => format!(" It is at index {placed}."),
            Some(_) => String::new(),
            None => " It is nowhere in the log.".to_owned(),
        },
    }
}

/// Checks that records lie one behind the other, and that terms do not fall.
pub(super) fn rises(order: &[Known], findings: &mut Findings) {
    for pair in order.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let mut fell = |law, what: &str| {
            findings.broken(law, |about| {
                about.index(after.index).says(format!(
                    "Index {} is the {}, and index {} the {}: {what}.",
                    before.index,
                    before.content.words(),
                    after.index,
                    after.content.words()
                ))
            });
        };
        if after.content.position <= before.content.position {
            fell(Law::Position, "it does not lie behind it");
        }
        if after.content.term < before.content.term {
            fell(Law::Term, "its term is lower");
        }
    }
}

/// Checks that the records of one append lie side by side, all or none. Those of an acknowledged append have their
/// places from its ack.
pub(super) fn batches(order: &[Known], log: &Log, calls: &Calls, findings: &mut Findings) {
    let mut last_reported = None;
    for (at, known) in order.iter().enumerate() {
        let Some((call, nth)) = known.owner else { continue };
        let made = calls.get(call);
        if made.records < 2 || made.end == End::Answered || last_reported == Some(call) {
            continue;
        }
        let neighbour = |other: Option<&Known>, index: Option<u64>, nth: u32| {
            let Some(index) = index else { return false };
            match other.filter(|other| other.index == index) {
                Some(other) => other.owner == Some((call, nth)),
                // What was removed unseen may have been it.
                None => !log.lacks(index),
            }
        };
        let before = at.checked_sub(1).and_then(|at| order.get(at));
        let begins = nth == 0 || neighbour(before, known.index.checked_sub(1), nth - 1);
        let goes_on = nth + 1 == made.records || neighbour(order.get(at + 1), known.index.checked_add(1), nth + 1);
        if begins && goes_on {
            continue;
        }
        last_reported = Some(call);
        findings.broken(Law::Batch, |about| {
            let (side, nth) = if begins { ("behind", nth + 1) } else { ("before", nth) };
            about.index(known.index).op(made.op).says(format!(
                "Index {} holds record {} of {} of {}, and its neighbour of the same append is not right {side} it.",
                known.index,
                nth + u32::from(!begins),
                made.records,
                calls.words(call)
            ))
        });
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
