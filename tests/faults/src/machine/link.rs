//! Who talks to whom, and the shapes of a partition.

use std::collections::BTreeSet;
use std::fmt;

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// The node with this id.
    Node(u64),
    /// All clients, which are in the process of the test.
    Clients,
}

/// One way between two parties: what `from` sends to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: Party,
    /// Who is to receive.
    pub to: Party,
}

/// A set of links: what a partition cuts, or another fault of the network is done to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(BTreeSet<Link>);

impl Links {
    /// What `from` sends to `to`, and not the other way.
    pub fn one_way(from: Party, to: Party) -> Self {
        Self([Link { from, to }].into())
    }

    /// Both ways between `a` and `b`.
    pub fn both_ways(a: Party, b: Party) -> Self {
        Self::one_way(a, b).and(Self::one_way(b, a))
    }

    /// All between nodes of different groups. Clients reach all.
    pub fn split(groups: &[&[u64]]) -> Self {
        let pairs = groups.iter().enumerate().flat_map(|(i, a)| groups[i + 1..].iter().map(move |b| (*a, *b)));
        let pairs = pairs.flat_map(|(a, b)| a.iter().flat_map(move |x| b.iter().map(move |y| (*x, *y))));
        pairs.fold(Self::default(), |all, (x, y)| all.and(Self::both_ways(Party::Node(x), Party::Node(y))))
    }

    /// All between `node` and the other `nodes`. Clients still reach it.
    pub fn isolate(node: u64, nodes: &[u64]) -> Self {
        let rest: Vec<u64> = nodes.iter().copied().filter(|other| *other != node).collect();
        Self::split(&[&[node], &rest])
    }

    /// Each node sees only its neighbours in a ring: a majority, and with more than three nodes each another one.
    /// `reach` is how many it sees on each side.
    pub fn ring(nodes: &[u64], reach: usize) -> Self {
        let n = nodes.len();
        let far = |a: usize, b: usize| (b + n - a) % n > reach && (a + n - b) % n > reach;
        let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|(a, b)| far(*a, *b));
        pairs
            .fold(Self::default(), |all, (a, b)| all.and(Self::both_ways(Party::Node(nodes[a]), Party::Node(nodes[b]))))
    }

    /// Two halves that see each other only through `bridge`.
    pub fn bridge(bridge: u64, nodes: &[u64]) -> Self {
        let rest: Vec<u64> = nodes.iter().copied().filter(|node| *node != bridge).collect();
        let (left, right) = rest.split_at(rest.len() / 2);
        Self::split(&[left, right])
    }

    /// Both ways between `a` and every one of `nodes`, itself excepted.
    pub fn around(a: Party, nodes: &[u64]) -> Self {
        let others = nodes.iter().map(|node| Party::Node(*node)).filter(|node| *node != a);
        others.fold(Self::default(), |all, node| all.and(Self::both_ways(a, node)))
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Each once, in order.
    pub fn iter(&self) -> impl Iterator<Item = Link> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The nodes at their ends.
    pub fn nodes(&self) -> Vec<u64> {
        let ends = self.0.iter().flat_map(|link| [link.from, link.to]);
        let nodes = ends.filter_map(|end| if let Party::Node(id) = end { Some(id) } else { None });
        nodes.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "n{id}"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(links: &Links) -> Vec<String> {
        links.iter().map(|link| link.to_string()).collect()
    }

    #[test]
    fn shapes_cut_what_they_say() {
        assert_eq!(pairs(&Links::split(&[&[1, 2], &[3]])), ["n1 to n3", "n2 to n3", "n3 to n1", "n3 to n2"]);
        assert_eq!(Links::isolate(3, &[1, 2, 3]), Links::split(&[&[1, 2], &[3]]));
        // 1 is the only way between 2, 3 and 4, 5.
        assert_eq!(Links::bridge(1, &[1, 2, 3, 4, 5]), Links::split(&[&[2, 3], &[4, 5]]));
        let around = Links::around(Party::Clients, &[1]);
        assert_eq!(pairs(&around), ["n1 to clients", "clients to n1"]);
        assert_eq!(around.nodes(), [1]);
    }

    #[test]
    fn in_a_ring_each_has_a_majority_and_none_the_same() {
        let nodes = [1, 2, 3, 4, 5];
        let cut = Links::ring(&nodes, 1);
        let seen = |node: u64| {
            let reached = nodes.iter().copied().filter(|other| {
                let link = Link { from: Party::Node(node), to: Party::Node(*other) };
                cut.iter().all(|gone| gone != link)
            });
            reached.collect::<BTreeSet<_>>()
        };
        let all: BTreeSet<_> = nodes.iter().map(|node| seen(*node)).collect();
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|seen| seen.len() == 3));
        assert_eq!(seen(1), [1, 2, 5].into());
    }
}
