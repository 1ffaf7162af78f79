//! Whether the nodes of a ledger have one history. Whoever has committed up to the same position has the same chain
//! value there, whenever each of them was asked: another one is the proof that one of them came out of a copy.

use std::collections::BTreeMap;

use dledger::{Role, Status};

use crate::target::roster::Answer;

/// Up to where a node has committed: its name, the position, the chain value there, and its address.
type CommittedAt<'a> = (String, u64, u32, &'a str);

/// What to do about nodes whose histories differ, and who they are. `None` as long as nothing proves that they do.
pub(crate) fn differ(answers: &[Answer]) -> Option<String> {
    told(answers.iter().filter_map(place).collect())
}

/// The addresses of the nodes that have another history than this one has.
pub(crate) fn others<'a>(answers: &'a [Answer], status: &Status) -> Vec<&'a str> {
    let other = |(_, position, chain, address): CommittedAt<'a>| {
        let differs = position == status.committed_position && chain != status.committed_chain;
        differs.then_some(address)
    };
    match has_history(status) {
        true => answers.iter().filter_map(place).filter_map(other).collect(),
        false => Vec::new(),
    }
}

fn place(answer: &Answer) -> Option<CommittedAt<'_>> {
    let status = answer.status.as_ref().ok().filter(|status| has_history(status))?;
    let (node, address) = (&status.node, answer.peer.address.as_str());
    Some((format!("{node} at {address}"), status.committed_position, status.committed_chain, address))
}

/// A ledger that could not be opened has no figures, and one that has committed nothing has nothing to compare.
fn has_history(status: &Status) -> bool {
    !matches!(status.role, Role::Closed { .. }) && status.committed_position > 0
}

fn told(places: Vec<CommittedAt<'_>>) -> Option<String> {
    let mut positions: BTreeMap<u64, BTreeMap<u32, Vec<String>>> = BTreeMap::new();
    for (node, position, chain, _) in places {
        positions.entry(position).or_default().entry(chain).or_default().push(node);
    }
    let (position, chains) = positions.into_iter().find(|(_, chains)| chains.len() > 1)?;
    let each = chains.iter().map(|(chain, nodes)| format!("{chain:08x} on {}", nodes.join(", ")));
    let each = each.collect::<Vec<_>>().join("; ");
    Some(format!(
        "the histories differ: at position {position} the chain value is {each}. A directory was copied or set back, \
         and what was acknowledged may be on one side alone. Append nothing more, stop the nodes and compare the \
         directories (dledger log diff); give the node that is not wanted an empty one (dledger members replace): see \
         docs/recovery.md"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_chain_value_at_the_same_position_is_another_history() {
        let told = |places: &[(&str, u64, u32)]| {
            told(places.iter().map(|(node, position, chain)| ((*node).to_owned(), *position, *chain, "")).collect())
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("n0", 896, 7), ("n1", 896, 7), ("n2", 900, 8)]), None, "one that is behind proves nothing");
        // All pairs, and not only neighbours.
        let said = told(&[("n0", 896, 7), ("n2", 900, 8), ("n1", 896, 9), ("n3", 896, 7)]).unwrap();
        assert!(said.contains("at position 896 the chain value is 00000007 on n0, n3; 00000009 on n1."), "{said}");
        assert!(said.contains("dledger log diff") && said.contains("docs/recovery.md"), "{said}");
    }
}
