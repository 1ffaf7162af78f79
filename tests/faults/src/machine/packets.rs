//! Faults of the network, done to packets where they come in: rules of nftables in a table of their own per fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::spaces::address;
use super::{Active, Link, Links, Party, Result, Shared};

/// What is done to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Drop,
    Reset,
    Lose { percent: u8 },
}

impl Verb {
    fn rule(self, from: &str) -> String {
        match self {
            Self::Drop => format!("ip saddr {from} counter drop"),
            // Not what resets already: the other end must get it.
            Self::Reset => format!("ip saddr {from} tcp flags & rst == 0 counter reject with tcp reset"),
            Self::Lose { percent } => format!("ip saddr {from} numgen random mod 100 < {percent} counter drop"),
        }
    }

    fn past(self) -> &'static str {
        match self {
            Self::Drop => "dropped",
            Self::Reset => "answered by a reset",
            Self::Lose { .. } => "lost",
        }
    }
}

/// Rules in place.
pub(crate) struct Packets {
    shared: Arc<Shared>,
    table: String,
    verb: Verb,
    links: Links,
    /// Where a table was made.
    at: Vec<Party>,
    /// What the rule of each link has counted; it stays when the tables are taken away.
    counted: BTreeMap<Link, u64>,
}

impl Packets {
    pub(crate) fn install(shared: &Arc<Shared>, links: &Links, verb: Verb) -> Result<Self> {
        let (shared, links) = (shared.clone(), links.clone());
        let mut own = Self { shared, table: next(), verb, links, at: Vec::new(), counted: BTreeMap::new() };
        let mut receivers: BTreeMap<Party, Vec<String>> = BTreeMap::new();
        for link in own.links.iter() {
            receivers.entry(link.to).or_default().push(verb.rule(&address(link.from)));
        }
        let shared = own.shared.clone();
        let spaces = shared.spaces()?;
        for (receiver, rules) in receivers {
            let name = &own.table;
            let hook = "{ type filter hook input priority 0; policy accept; }";
            let mut table = format!("add table ip {name}\nadd chain ip {name} input {hook}\n");
            rules.iter().for_each(|rule| table += &format!("add rule ip {name} input {rule}\n"));
            spaces.nft(receiver, &table)?;
            // Recorded one by one: if the next fails, dropping takes away what is there.
            own.at.push(receiver);
        }
        Ok(own)
    }

    fn count(&mut self) -> Result<()> {
        for receiver in &self.at {
            let listed =
                self.shared.spaces()?.run(*receiver, &["nft", "-j", "list", "table", "ip", &self.table], "")?;
            for (from, packets) in counters(&listed) {
                let link = self.links.iter().find(|link| link.to == *receiver && address(link.from) == from);
                self.counted.extend(link.map(|link| (link, packets)));
            }
        }
        Ok(())
    }
}

impl Active for Packets {
    fn observed(&mut self) -> Result<Option<String>> {
        self.count()?;
        Ok(evidence(&self.links, &self.counted)
            .map(|(total, each)| format!("{total} packets {} ({each})", self.verb.past())))
    }

    fn remove(&mut self) -> Result<()> {
        self.count()?;
        let at = std::mem::take(&mut self.at);
        let removed = at
            .into_iter()
            .map(|receiver| self.shared.spaces()?.nft(receiver, &format!("delete table ip {}\n", self.table)));
        // All are tried, whichever fails.
        removed.collect::<Vec<_>>().into_iter().collect()
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        if !self.at.is_empty() {
            // Half installed: the caller has been told what failed.
            let _ = self.remove();
        }
    }
}

/// How many packets the rules met, and where; nothing as long as no sender has met all of its rules. Slaves have
/// nothing to say to each other: not every link is used. But who leads, or wants to, sends to everybody, and so do the
/// clients.
fn evidence(links: &Links, counted: &BTreeMap<Link, u64>) -> Option<(u64, String)> {
    let met = |link: &Link| counted.get(link).is_some_and(|packets| *packets > 0);
    let all_of = |from: Party| links.iter().filter(|link| link.from == from).all(|link| met(&link));
    if !links.iter().any(|link| all_of(link.from)) {
        return None;
    }
    let each = counted.iter().filter(|(_, packets)| **packets > 0);
    let each: Vec<String> = each.map(|(link, packets)| format!("{link}: {packets}")).collect();
    Some((counted.values().sum(), each.join(", ")))
}

/// A name for the table of one fault.
fn next() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("dlf{}", MADE.fetch_add(1, Ordering::Relaxed))
}

/// The rules of a table as nft lists them: whom each is against, and how many packets it saw.
fn counters(listed: &str) -> Vec<(String, u64)> {
    let listed: Value = serde_json::from_str(listed).unwrap_or_default();
    let rules =
        listed["nftables"].as_array().into_iter().flatten().filter_map(|object| object["rule"]["expr"].as_array());
    let counters = rules.filter_map(|expressions| {
        let from = expressions.iter().find_map(|e| e["match"]["right"].as_str().filter(|right| right.contains('.')))?;
        let packets = expressions.iter().find_map(|e| e["counter"]["packets"].as_u64())?;
        Some((from.to_owned(), packets))
    });
    counters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_meets_all_of_its_rules_or_nothing_is_shown() {
        let link = |from, to| Link { from: Party::Node(from), to: Party::Node(to) };
        let links = Links::split(&[&[1, 2], &[3, 4, 5]]);
        let shown = |met: &[(u64, u64)]| {
            let counted = met.iter().map(|(from, to)| (link(*from, *to), 2)).collect();
            evidence(&links, &counted).map(|(total, _)| total)
        };
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&[(1, 3), (1, 4)]), None, "the rule against what 5 gets was never met");
        assert_eq!(shown(&[(1, 3), (1, 4), (1, 5)]), Some(6));
        assert_eq!(shown(&[(2, 3), (4, 1), (4, 2)]), Some(6));
        assert_eq!(evidence(&links, &BTreeMap::from([(link(1, 3), 0)])), None);
    }
}
