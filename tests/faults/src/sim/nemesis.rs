//! Does what the schedule says, and proves that it did something.

use std::collections::BTreeMap;
use std::time::Duration;

use dledger::Role;
use dledger_history::{FaultEvent, FaultPhase, What};
use dledger_sim as sim;

use super::evidence::Live;
use super::members::Members;
use super::schedule::{Kind, Schedule, Step, Who};
use super::world::{World, name};

/// How often a fault that has shown nothing yet is given some more time, and how much.
const EXTENSIONS: u32 = 40;
const EXTENSION: u64 = 100;
/// Faults after which another node is to be the master.
const HAND_OVER: u32 = 5;
/// How long all may take to run again in the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what the schedule says.
pub(super) struct Nemesis {
    pub(super) world: World,
    /// Faults that are there, by number.
    live: BTreeMap<usize, Live>,
    pub(super) members: Members,
    /// Nodes that this took down, by number of the fault.
    down: BTreeMap<usize, Vec<usize>>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    Begin,
    End { extended: u32 },
}

impl Nemesis {
    pub(super) fn new(world: World, members: Members) -> Self {
        Self { world, live: BTreeMap::new(), members, down: BTreeMap::new() }
    }

    /// Does all of it, and leaves nothing behind but nodes that may be down.
    pub(super) async fn run(&mut self, schedule: &Schedule) {
        let began = sim::now();
        // By time, then by number: the order is part of what the seed determines.
        let mut agenda: BTreeMap<(u64, usize, bool), Next> = BTreeMap::new();
        for (number, step) in schedule.0.iter().enumerate() {
            agenda.insert((step.at, number, false), Next::Begin);
        }
        while let Some(((at, number, _), next)) = agenda.pop_first() {
            let at_time = began + Duration::from_millis(at);
            sim::pass(at_time.saturating_sub(sim::now())).await;
            let step = &schedule.0[number];
            match next {
                Next::Begin => {
                    if self.begin(number, step).await {
                        agenda.insert((at + step.lasts.max(1), number, true), Next::End { extended: 0 });
                    }
                }
                Next::End { extended } => {
                    let shown = self.live.get(&number).is_some_and(|live| live.evidence(&self.world).is_some());
                    let rots = step.kind == Kind::Rot;
                    if shown || rots || extended == EXTENSIONS {
                        self.end(number);
                    } else {
                        self.provoke(number, extended);
                        agenda.insert((at + EXTENSION, number, true), Next::End { extended: extended + 1 });
                    }
                }
            }
        }
    }

    /// Has the nodes do what shows a fault that has shown nothing yet.
    fn provoke(&self, number: usize, extended: u32) {
        let Some(live) = self.live.get(&number) else { return };
        live.again(&self.world);
        // Without a quorum nobody does anything.
        let meant = |i: &usize| self.down.values().any(|down| down.contains(i));
        for i in (0..self.world.cluster.size()).filter(|i| !meant(i) && !self.is_well(*i)) {
            self.revive(i);
        }
        let speaker = live.speaker().filter(|i| self.world.cluster.master() != Some(*i));
        if let (Some(i), 0) = (speaker, extended % HAND_OVER) {
            self.members.hand_over(i);
        }
    }

    /// Whether it has begun, and has an end.
    async fn begin(&mut self, number: usize, step: &Step) -> bool {
        let Some(nodes) = self.resolve(step) else {
            self.world.count("steps skipped", 1);
            self.world.note(format!("step {number}, {:?}: nobody to do it to", step.kind));
            return false;
        };
        if self.members.does(step, &nodes) {
            return false;
        }
        if step.kind.is_there_once() && self.live.values().any(|live| live.kind == step.kind && live.nodes == nodes) {
            self.world.count("steps skipped", 1);
            return false;
        }
        let mut live = Live::new(&self.world, step, nodes);
        if step.kind.waits_for_ack() {
            // Bounded: with no master nothing is acknowledged.
            let mut acked = self.world.acked.subscribe();
            let waited = sim::within(Duration::from_millis(500), acked.changed()).await;
            live.at_ack = waited.is_some();
        }
        self.settle_rot();
        if !live.install(&self.world, step).await {
            self.world.count("steps skipped", 1);
            return false;
        }
        if !live.down.is_empty() {
            self.down.insert(number, live.down.clone());
        }
        self.tell(number, &live, FaultPhase::Installed, live.installed.clone());
        self.live.insert(number, live);
        true
    }

    fn end(&mut self, number: usize) {
        let Some(live) = self.live.remove(&number) else { return };
        if live.kind == Kind::Rot {
            // What shows it comes when the node reads what rots.
            self.world.rotten().push((number, live));
            return self.down.remove(&number).unwrap_or_default().into_iter().for_each(|i| self.revive(i));
        }
        if let Some(evidence) = live.evidence(&self.world) {
            self.tell(number, &live, FaultPhase::Observed, evidence);
        }
        live.remove(&self.world);
        for i in self.down.remove(&number).unwrap_or_default() {
            self.revive(i);
        }
        self.tell(number, &live, FaultPhase::Removed, String::new());
    }

    /// What has been repaired is told. Whether nothing rots any more.
    pub(super) fn settle_rot(&self) -> bool {
        let all = std::mem::take(&mut *self.world.rotten());
        let mut left = Vec::new();
        for (number, live) in all {
            match live.evidence(&self.world) {
                Some(evidence) => {
                    self.tell(number, &live, FaultPhase::Observed, evidence);
                    self.tell(number, &live, FaultPhase::Removed, String::new());
                }
                None => left.push((number, live)),
            }
        }
        *self.world.rotten() = left;
        self.world.rotten().is_empty()
    }

    fn tell(&self, number: usize, live: &Live, phase: FaultPhase, evidence: String) {
        if phase == FaultPhase::Installed {
            self.world.count("faults", 1);
        }
        let nodes = live.nodes.iter().map(|i| name(*i)).collect();
        let fault = FaultEvent { fault: number as u64, kind: live.kind.name(), nodes, phase, evidence };
        self.world.recorder.record(What::Fault(fault));
    }

    /// The nodes it is done to; `None` if there is nobody to do it to.
    fn resolve(&self, step: &Step) -> Option<Vec<usize>> {
        let cluster = &self.world.cluster;
        let needs_running = !step.kind.is_of_network();
        let runs = |i: usize| !needs_running || self.is_well(i);
        // Nobody talks to who is no member. Without a master, the one who knows most knows best.
        let most = || (0..cluster.size()).max_by_key(|i| cluster.ledger(*i).map(|it| it.status().committed));
        let knows = cluster.master().or_else(most).and_then(|i| cluster.ledger(i));
        let members = knows.map(|it| it.status().members);
        let members = members.filter(|_| !needs_running && self.world.plan.spares > 0);
        let talks = |i: usize| {
            members.as_ref().is_none_or(|all| all.iter().any(|member| member.member.id.to_string() == name(i)))
        };
        let mut all: Vec<usize> = Vec::new();
        for who in &step.nodes {
            let first = match who {
                Who::Master => cluster.master().unwrap_or(0),
                Who::Node(i) => *i % cluster.size(),
            };
            let candidates = (0..cluster.size()).map(|more| (first + more) % cluster.size());
            // The spare nodes only by name.
            let mut candidates = candidates.filter(|i| *i < self.world.plan.nodes || *i == first);
            let found = candidates.find(|i| runs(*i) && talks(*i) && !all.contains(i));
            match found {
                Some(i) => all.push(i),
                None if all.is_empty() => return None,
                None => {}
            }
        }
        let enough = all.len() >= step.nodes.len().min(2) || needs_running;
        enough.then_some(all)
    }

    /// Whether node `i` runs and has not closed by itself.
    fn is_well(&self, i: usize) -> bool {
        !matches!(self.world.cluster.role(i), None | Some(Role::Stopped | Role::Closed { .. }))
    }

    /// Starts a node that is down or has closed by itself.
    fn revive(&self, i: usize) {
        let cluster = &self.world.cluster;
        if matches!(cluster.role(i), Some(Role::Closed { .. })) {
            cluster.kill(i);
        }
        self.world.try_start(i);
    }

    /// Undoes everything and has all nodes run again.
    ///
    /// # Panics
    /// If one does not.
    pub(super) async fn heal(&mut self) {
        let live: Vec<_> = self.live.keys().copied().collect();
        for number in live {
            self.end(number);
        }
        let cluster = self.world.cluster.clone();
        cluster.heal();
        cluster.mend_disks();
        let deadline = sim::now() + PATIENCE;
        for i in 0..cluster.size() {
            loop {
                if !self.world.is_starting(i) {
                    if self.is_well(i) {
                        break;
                    }
                    self.revive(i);
                }
                assert!(sim::now() < deadline, "node {i} does not start any more: {}", self.world.why_not(i));
                sim::pass(Duration::from_millis(20)).await;
            }
        }
    }
}
