//! What may be done to links, undone again, and proven.

use std::time::Duration;

use super::actions::{Hosts, each};
use super::cluster::{Cluster, Fault, LATENCY};
use super::packets::Count;

/// A fault must show within this.
pub(super) const SHOWS: Duration = Duration::from_secs(8);
/// Of the slow links, one way.
const SLOW: Duration = Duration::from_millis(150);
/// On lossy links, lost packets per million; each loses all that is in flight on its link.
const LOSS: f64 = 20_000e-6;

/// What is done to the links between some hosts and others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Packets are neither delivered nor refused, those under way as well; afterwards they all arrive.
    Hold,
    /// Packets are lost, those under way as well. The connections over which they went do not recover.
    Part,
    /// The same, only for packets to the others.
    PartTo,
    /// The same, only for packets from the others.
    PartFrom,
    /// Packets take long.
    Slow,
    /// Now and then packets are lost, those under way as well.
    Lose,
    /// The hosts' connections break in the middle of a write, each time after at most this number of bytes.
    Cut(u64),
}

/// Harm that is done.
#[must_use = "it is to be undone"]
pub struct Harmed {
    fault: Fault,
    harm: Harm,
    one: Hosts,
    other: Hosts,
    before: Count,
    cuts: u64,
}

impl Harm {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Hold, Self::Part, Self::PartTo, Self::PartFrom, Self::Slow, Self::Lose, Self::Cut(4 << 10)];

    fn kind(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Part => "partition",
            Self::PartTo | Self::PartFrom => "one-way partition",
            Self::Slow => "latency",
            Self::Lose => "loss",
            Self::Cut(_) => "cut connections",
        }
    }
}

impl Cluster<'_> {
    /// Does harm to the links between the hosts. Links take one harm at a time.
    pub fn harm(&mut self, harm: Harm, one: &Hosts, other: &Hosts) -> Harmed {
        let (before, cuts) = (self.packets_among(one, other), self.cuts(one));
        match harm {
            Harm::Hold => each(one, other, |a, b| self.sim.hold(a, b)),
            Harm::Part => each(one, other, |a, b| self.sim.partition(a, b)),
            Harm::PartTo => each(one, other, |a, b| self.sim.partition_oneway(a, b)),
            Harm::PartFrom => each(one, other, |a, b| self.sim.partition_oneway(b, a)),
            Harm::Slow => each(one, other, |a, b| self.sim.set_link_latency(a, b, SLOW)),
            Harm::Lose => self.lose(one, other, LOSS),
            Harm::Cut(bytes) => self.cut(one, Some(bytes)),
        }
        self.silence(harm, one, other, true);
        let nodes = one.iter().filter(|host| self.nodes.iter().any(|node| node.name == **host)).cloned().collect();
        let fault = self.installed(harm.kind(), nodes);
        Harmed { fault, harm, one: one.clone(), other: other.clone(), before, cuts }
    }

    /// Undoes it, once it has shown.
    ///
    /// # Panics
    /// If it has not after some seconds.
    pub fn undo(&mut self, harmed: Harmed) {
        self.wait("the harm to show", SHOWS, |cluster| cluster.evidence(&harmed).is_some());
        let evidence = self.evidence(&harmed).expect("it was there a moment ago");
        let Harmed { fault, harm, one, other, .. } = harmed;
        self.observed(&fault, evidence);
        match harm {
            Harm::Hold => each(&one, &other, |a, b| self.sim.release(a, b)),
            Harm::Part | Harm::PartTo | Harm::PartFrom => each(&one, &other, |a, b| self.sim.repair(a, b)),
            Harm::Slow => each(&one, &other, |a, b| {
                self.sim.set_link_latency(a, b, LATENCY.0);
                self.sim.set_link_max_message_latency(a, b, LATENCY.1);
            }),
            Harm::Lose => {
                self.lose(&one, &other, 0.0);
                // The last packet that was lost may have been just now.
                each(&one, &other, |a, b| self.sim.repair(a, b));
            }
            Harm::Cut(_) => self.cut(&one, None),
        }
        self.silence(harm, &one, &other, false);
        self.removed(fault);
    }

    /// What shows that harm was done.
    fn evidence(&self, harmed: &Harmed) -> Option<String> {
        let Harmed { harm, one, other, before, cuts, .. } = harmed;
        let now = self.packets_among(one, other);
        let (count, what) = match harm {
            Harm::Hold => (now.held - before.held, "packets held"),
            Harm::Part | Harm::PartTo | Harm::PartFrom | Harm::Lose => (now.dropped - before.dropped, "packets lost"),
            Harm::Slow => (now.sent - before.sent, "packets under way for 150 ms each"),
            Harm::Cut(_) => (self.cuts(one) - cuts, "connections cut in the middle of a write"),
        };
        (count > 0).then(|| format!("{count} {what}"))
    }

    fn silence(&self, harm: Harm, one: &Hosts, other: &Hosts, silent: bool) {
        if matches!(harm, Harm::Part | Harm::PartTo | Harm::PartFrom | Harm::Lose) {
            each(one, other, |a, b| self.silent.set(a, b, silent));
        }
    }

    fn lose(&mut self, one: &Hosts, other: &Hosts, rate: f64) {
        for a in one {
            for b in other.iter().filter(|b| a != *b) {
                self.sim.set_link_fail_rate(a.as_str(), b.as_str(), rate);
            }
        }
    }

    fn cut(&mut self, hosts: &Hosts, bytes: Option<u64>) {
        for node in self.nodes.iter().filter(|node| hosts.contains(&node.name)) {
            node.meter.cut(bytes.map(|bytes| (self.rng.fork(), bytes)));
        }
    }

    fn cuts(&self, hosts: &Hosts) -> u64 {
        self.nodes.iter().filter(|node| hosts.contains(&node.name)).map(|node| node.meter.cuts()).sum()
    }
}
