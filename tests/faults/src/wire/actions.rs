//! What may be done to nodes, undone again, and proven.

use turmoil::{Protocol, Segment};

use super::cluster::{Cluster, Fault};
use super::packets::Count;

/// Hosts, by name.
pub type Hosts = Vec<String>;

/// A node that is down.
#[must_use = "it is to be started again"]
pub struct Down {
    /// Which one.
    pub node: usize,
    fault: Fault,
    before: Count,
    power: bool,
}

impl Cluster<'_> {
    /// The process of node `i` dies: its connections are closed, new ones are refused. Its disk keeps what was written.
    pub fn kill(&mut self, i: usize) -> Down {
        self.down(i, false)
    }

    /// The power of node `i` fails. Nobody is told: packets to it are lost, so are those of its own that were under
    /// way. What was not synced is lost, or not.
    pub fn power_off(&mut self, i: usize) -> Down {
        let (host, rest) = (self.host(i), self.rest(i));
        each(&host, &rest, |a, b| {
            self.sim.partition(a, b);
            self.silent.set(a, b, true);
        });
        self.down(i, true)
    }

    fn down(&mut self, i: usize, power: bool) -> Down {
        let before = self.packets_to(i);
        let node = self.nodes[i].clone();
        let process = node.end(|disk, rng| if power { disk.crash(rng.draw()) } else { disk.kill() });
        self.sim.crash(node.name.as_str());
        drop(process);
        if !power {
            // Its machine runs on: it refuses connections.
            self.sim.bounce(node.name.as_str());
        }
        let fault = self.installed(if power { "power loss" } else { "kill" }, self.host(i));
        Down { node: i, fault, before, power }
    }

    /// Starts a node on what its disk holds. Shows that it was down by what the others sent it in vain.
    ///
    /// # Panics
    /// If they have sent nothing, and send nothing for some seconds.
    pub fn start(&mut self, down: Down) {
        let Down { node: i, fault, before, power } = down;
        self.wait("the others to send", super::harm::SHOWS, |cluster| cluster.packets_to(i).sent > before.sent);
        let now = self.packets_to(i);
        let (sent, dropped) = (now.sent - before.sent, now.dropped - before.dropped);
        self.observed(&fault, format!("of {sent} packets sent to it, {dropped} were lost and none answered"));
        self.nodes[i].raise();
        let (host, rest) = (self.host(i), self.rest(i));
        if power {
            each(&host, &rest, |a, b| {
                self.sim.repair(a, b);
                self.silent.set(a, b, false);
            });
        } else {
            self.sim.crash(host[0].as_str());
        }
        self.sim.bounce(host[0].as_str());
        self.removed(fault);
    }

    fn packets_to(&self, i: usize) -> Count {
        let mut sum = Count::default();
        each(&self.rest(i), &self.host(i), |from, to| sum = sum + self.packets(from, to));
        sum
    }

    /// Packets between the hosts so far, both ways.
    pub fn packets_among(&self, one: &Hosts, other: &Hosts) -> Count {
        let mut sum = Count::default();
        each(one, other, |a, b| sum = sum + self.packets(a, b) + self.packets(b, a));
        sum
    }

    /// Bytes that are on their way from one host to another.
    pub fn bytes_under_way(&self, from: &str, to: &str) -> u64 {
        let (from, to) = (self.sim.lookup(from), self.sim.lookup(to));
        let mut bytes = 0;
        self.sim.links(|links| {
            let ours = |link: &turmoil::LinkIter<'_>| link.pair() == (from, to) || link.pair() == (to, from);
            for sent in links.filter(ours).flatten() {
                if let (true, Protocol::Tcp(Segment::Data(_, data))) = (sent.pair().0.ip() == from, sent.protocol()) {
                    bytes += data.len() as u64;
                }
            }
        });
        bytes
    }

    /// All hosts but that of node `i`: the other nodes and the clients.
    pub fn rest(&self, i: usize) -> Hosts {
        self.others(i).into_iter().map(|other| self.name(other)).chain(self.client_hosts()).collect()
    }

    /// The host of node `i` alone.
    pub fn host(&self, i: usize) -> Hosts {
        vec![self.name(i)]
    }

    /// The hosts of all nodes.
    pub fn hosts(&self) -> Hosts {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }
}

/// Does something for each pair of hosts.
pub(super) fn each(one: &Hosts, other: &Hosts, mut act: impl FnMut(&str, &str)) {
    for a in one {
        for b in other.iter().filter(|b| a != *b) {
            act(a, b);
        }
    }
}
