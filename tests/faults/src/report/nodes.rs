//! What the nodes said of themselves: who led when, and how far each knew the log to be committed.

use std::collections::BTreeMap;

use dledger_history::{Event, NodeStatusEvent, What};

use super::faults::Fault;

/// Points of a line on the timeline, at most.
const POINTS: usize = 1500;

/// One node over time.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeTrack {
    pub name: String,
    /// From when on which role in which term; `down` while its process is known to be gone.
    pub roles: Vec<(u64, String, u64)>,
    /// From when on which commit point.
    pub committed: Vec<(u64, u64)>,
    /// When it last said anything.
    pub last_word: Option<u64>,
}

/// Each node the history names, in the order of its first line, then of their first words.
pub(super) fn nodes(events: &[Event], faults: &[Fault]) -> Vec<NodeTrack> {
    let mut order: Vec<String> = Vec::new();
    let mut said: BTreeMap<&str, Vec<(u64, &NodeStatusEvent)>> = BTreeMap::new();
    for event in events {
        match &event.what {
            What::Begin(begin) => order.extend(begin.nodes.iter().cloned()),
            What::Status(status) => {
                if !order.contains(&status.node) {
                    order.push(status.node.clone());
                }
                said.entry(&status.node).or_default().push((event.at, status));
            }
            _ => {}
        }
    }
    order.into_iter().map(|name| track(said.remove(name.as_str()).unwrap_or_default(), name, faults)).collect()
}

fn track(said: Vec<(u64, &NodeStatusEvent)>, name: String, faults: &[Fault]) -> NodeTrack {
    let mut track = NodeTrack { name, ..NodeTrack::default() };
    let mut ends: Vec<u64> = faults
        .iter()
        .filter(|fault| fault.takes_down() && fault.nodes.contains(&track.name))
        .map(|fault| fault.start)
        .collect();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut down: Option<(u64, u64)> = None;
    let mut term = 0;
    let mut start = 0;
    for (at, status) in said {
        while let Some(end) = ends.next_if(|&end| end <= at) {
            track.roles.push((end, "down".to_owned(), term));
            down = Some((end, start));
        }
        // What was on its way when the process died is no sign of life.
        if down.is_some_and(|(since, life)| status.start <= life && at < since + 1_000_000_000) {
            continue;
        }
        // Nobody wrote down that it died, but it says itself that it has started again.
        if let (None, Some(before)) = (down, track.last_word.filter(|_| status.start > start)) {
            track.roles.push((before, "down".to_owned(), term));
        }
        down = None;
        (term, start) = (status.term, status.start);
        if track.roles.last().is_none_or(|(_, role, term)| (role, *term) != (&status.role, status.term)) {
            track.roles.push((at, status.role.clone(), status.term));
        }
        track.committed.push((at, status.committed));
        track.last_word = Some(at);
    }
    track.roles.extend(ends.map(|end| (end, "down".to_owned(), term)));
    track.committed = thinned(track.committed);
    track
}

/// Where the value changes; when there are too many of those, the last of each stretch of time, so that what is drawn
/// is never ahead of what was said.
fn thinned(all: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for (at, value) in all {
        if steps.last().is_none_or(|&(_, last)| last != value) {
            steps.push((at, value));
        }
    }
    let (Some(&(first, _)), Some(&(last, _))) = (steps.first(), steps.last()) else { return steps };
    if steps.len() <= POINTS {
        return steps;
    }
    let stretch = (last - first) / POINTS as u64 + 1;
    let mut thin: Vec<(u64, u64)> = Vec::new();
    for step in steps {
        match thin.last_mut() {
            Some(kept) if (kept.0 - first) / stretch == (step.0 - first) / stretch => *kept = step,
            _ => thin.push(step),
        }
    }
    thin
}

/// How long after `healed` until every node knew to be committed what any node knew then: none if that was never seen.
pub(super) fn time_to_agree(nodes: &[NodeTrack], healed: u64) -> Option<u64> {
    let at = |node: &NodeTrack| node.committed.iter().take_while(|(at, _)| *at <= healed).map(|(_, n)| *n).max();
    let goal = nodes.iter().filter_map(at).max()?;
    let reached = |node: &NodeTrack| {
        // What it said before the end of the faults may have been said by a life that is over.
        node.committed.iter().position(|&(_, committed)| committed >= goal).map(|i| node.committed[i].0.max(healed))
    };
    let spoke = nodes.iter().filter(|node| node.last_word.is_some());
    let all: Option<Vec<u64>> = spoke.map(reached).collect();
    all?.into_iter().max().map(|last| last - healed)
}

#[cfg(test)]
mod tests {
    use dledger_history::{FaultEvent, FaultPhase};

    use super::super::faults::faults;
    use super::*;

    const S: u64 = 1_000_000_000;

    fn said(at: u64, start: u64, role: &str, committed: u64) -> Event {
        let (node, role) = ("n".to_owned(), role.to_owned());
        let (term, first, durable, end) = (start, 0, committed, committed);
        let chain = None;
        let status = NodeStatusEvent { node, start, role, term, first, durable, committed, end, chain };
        Event { at, what: What::Status(status) }
    }

    fn kill(at: u64) -> Event {
        let (kind, nodes, evidence) = ("kill".to_owned(), vec!["n".to_owned()], String::new());
        let phase = FaultPhase::Installed;
        Event { at, what: What::Fault(FaultEvent { fault: 1, kind, nodes, phase, evidence }) }
    }

    fn roles(events: &[Event]) -> Vec<(u64, String, u64)> {
        nodes(events, &faults(events)).remove(0).roles
    }

    #[test]
    fn a_node_that_was_killed_is_down_until_its_next_life_speaks() {
        // What the first life still said is on its way when it is killed.
        let events =
            [said(S, 1, "master", 1), kill(2 * S), said(2 * S + 1, 1, "master", 2), said(4 * S, 2, "slave", 2)];
        let down = [(S, "master".into(), 1), (2 * S, "down".into(), 1), (4 * S, "slave".into(), 2)];
        assert_eq!(roles(&events), down);
        assert_eq!(roles(&[said(S, 1, "master", 1), kill(2 * S)]), down[..2]);
        // The same where nobody wrote the kill down: from its last word on.
        assert_eq!(
            roles(&[said(S, 1, "master", 1), said(4 * S, 2, "slave", 2)]),
            [(S, "master".into(), 1), (S, "down".into(), 1), (4 * S, "slave".into(), 2)]
        );
    }

    #[test]
    fn a_thinned_line_is_never_ahead_of_what_was_said() {
        let all: Vec<(u64, u64)> = (0..100_000).map(|n| (n * 10, n)).collect();
        let thin = thinned(all.clone());
        assert!(thin.len() <= POINTS + 1 && thin.len() > POINTS / 2, "{}", thin.len());
        assert!(thin.iter().all(|point| all.contains(point)));
        assert_eq!(thin.last(), all.last());
    }

    #[test]
    fn nodes_agree_when_the_last_of_them_has_what_any_had_when_the_faults_ended() {
        let track = |committed: &[(u64, u64)]| NodeTrack {
            committed: committed.to_vec(),
            last_word: Some(100),
            ..NodeTrack::default()
        };
        let ahead = track(&[(1, 5), (9, 8), (20, 9)]);
        assert_eq!(time_to_agree(&[ahead.clone(), track(&[(1, 5), (12, 7), (14, 8)])], 10), Some(4));
        assert_eq!(time_to_agree(&[ahead.clone(), track(&[(1, 5), (9, 8)])], 10), Some(0));
        assert_eq!(time_to_agree(&[ahead.clone(), track(&[(1, 5), (30, 7)])], 10), None, "one never had it");
        assert_eq!(time_to_agree(&[ahead, NodeTrack::default()], 10), Some(0), "one that never spoke does not count");
        assert_eq!(time_to_agree(&[], 10), None);
    }
}
