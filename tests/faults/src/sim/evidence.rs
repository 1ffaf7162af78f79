//! A fault that is there, and what shows that it did something.

use std::time::Duration;

use dledger::Role;
use dledger_sim::{DiskCall, DiskEvidence, Traffic};

use super::schedule::{Kind, Step};
use super::world::World;

/// A fault that is there.
pub(super) struct Live {
    pub(super) kind: Kind,
    pub(super) nodes: Vec<usize>,
    /// Nodes that it took down.
    pub(super) down: Vec<usize>,
    /// What it found.
    pub(super) installed: String,
    /// Something had been acknowledged at that moment.
    pub(super) at_ack: bool,
    much: i64,
    links: Vec<(usize, usize)>,
    lost_before: u64,
    traffic_before: Traffic,
    disk_before: DiskEvidence,
    clock_before: u64,
    /// The position of what rots, and what was there.
    rotten: Option<(u64, u8)>,
}

impl Kind {
    /// Whether it happens between nodes, so that it does not matter whether they run.
    pub(super) fn is_of_network(self) -> bool {
        use Kind::{Bridge, Deaf, Disorder, Duplicates, Isolate, Loss, Mute, OneWay, Ring, SlowLink};
        matches!(self, Isolate | OneWay | Mute | Deaf | Ring | Bridge | Loss | SlowLink | Duplicates | Disorder)
    }

    /// Whether a node can have it only once: what ends the first would end the second.
    pub(super) fn is_there_once(self) -> bool {
        matches!(self, Self::Full | Self::Hang | Self::SlowDisk)
    }

    pub(super) fn waits_for_ack(self) -> bool {
        matches!(self, Self::PowerLossAtAck | Self::KillAtAck)
    }

    fn failing_call(self) -> Option<DiskCall> {
        match self {
            Self::SyncFails => Some(DiskCall::Sync),
            Self::WriteFails => Some(DiskCall::Write),
            Self::ReadFails => Some(DiskCall::Read),
            _ => None,
        }
    }
}

/// The links that such a partition cuts.
fn links(kind: Kind, nodes: &[usize], size: usize) -> Vec<(usize, usize)> {
    let others = |i: usize| (0..size).filter(move |other| *other != i);
    match (kind, nodes) {
        (Kind::Isolate, [i, ..]) => others(*i).flat_map(|other| [(*i, other), (other, *i)]).collect(),
        (Kind::Mute, [i, ..]) => others(*i).map(|other| (*i, other)).collect(),
        (Kind::Deaf, [i, ..]) => others(*i).map(|other| (other, *i)).collect(),
        (Kind::OneWay, [from, to, ..]) => vec![(*from, *to)],
        // Everybody hears their neighbours; with three, everybody hears one.
        (Kind::Ring, _) => {
            let next = |i: usize, j: usize| (i + 1) % size == j;
            let cut = |i: usize, j: usize| if size > 3 { !next(i, j) && !next(j, i) } else { next(j, i) };
            (0..size).flat_map(|i| others(i).map(move |j| (i, j))).filter(|(i, j)| cut(*i, *j)).collect()
        }
        // Two halves, and one node that hears both.
        (Kind::Bridge, [bridge, ..]) => {
            let side = |i: usize| (i + size - bridge) % size <= (size - 1) / 2;
            let all = (0..size).flat_map(|i| others(i).map(move |j| (i, j)));
            all.filter(|(i, j)| i != bridge && j != bridge && side(*i) != side(*j)).collect()
        }
        _ => Vec::new(),
    }
}

impl Live {
    pub(super) fn new(world: &World, step: &Step, nodes: Vec<usize>) -> Self {
        let cluster = &world.cluster;
        let links = links(step.kind, &nodes, cluster.size());
        let first = nodes.first().copied();
        Self {
            kind: step.kind,
            down: Vec::new(),
            installed: String::new(),
            at_ack: false,
            much: step.much,
            lost_before: links.iter().map(|(from, to)| cluster.lost_on(*from, *to)).sum(),
            links,
            traffic_before: cluster.traffic(),
            disk_before: first.map(|i| cluster.disk_evidence(i)).unwrap_or_default(),
            clock_before: first.map_or(0, |i| cluster.clock_reads(i)),
            rotten: None,
            nodes,
        }
    }

    /// Has it happen, if it can.
    pub(super) async fn install(&mut self, world: &World, step: &Step) -> bool {
        let cluster = &world.cluster;
        let much = step.much.unsigned_abs();
        self.installed = match cluster.master() {
            Some(master) if self.nodes.contains(&master) => format!("n{master} was the master"),
            Some(master) => format!("n{master} was the master, and is not concerned"),
            None => "nobody was master".into(),
        };
        for (from, to) in &self.links {
            cluster.cut(*from, *to);
        }
        match (self.kind, self.nodes.first().copied()) {
            (Kind::Loss, _) => cluster.disturb(|noise| noise.loss += much),
            (Kind::Duplicates, _) => cluster.disturb(|noise| noise.duplication += much),
            (Kind::Disorder, _) => cluster.disturb(|noise| noise.disorder += much),
            (Kind::SlowLink, Some(from)) => cluster.delay(from, self.nodes[1], Duration::from_millis(much)),
            (Kind::PowerLoss, _) => self.take_down(world, |i| match (i as u64 + much) % 3 {
                0 => cluster.crash_hard(i),
                _ => cluster.crash(i),
            }),
            (Kind::PowerLossAtAck, _) => self.take_down(world, |i| cluster.crash_hard(i)),
            (Kind::Kill | Kind::KillAtAck, _) => self.take_down(world, |i| cluster.kill(i)),
            (Kind::Stop, Some(i)) => {
                // Closing fails where a disk was told to fail.
                drop(cluster.stop(i).await);
                self.down = vec![i];
            }
            (Kind::ReadFails, Some(i)) => {
                // At the start a disk is read; and the next life has calls of its own to fail.
                cluster.kill(i);
                cluster.fail_call(i, DiskCall::Read, much);
                self.down = vec![i];
                world.try_start(i);
            }
            (Kind::SyncFails | Kind::WriteFails, Some(i)) => {
                if let Some(call) = self.kind.failing_call() {
                    cluster.fail_call(i, call, much);
                }
                self.down = vec![i];
            }
            (Kind::Full, Some(i)) => cluster.set_capacity(i, Some(cluster.used(i) + much)),
            (Kind::Hang, Some(i)) => cluster.hang_syncs(i, true),
            (Kind::SlowDisk, Some(i)) => cluster.slow_syncs(i, Duration::from_millis(much)),
            (Kind::Jump, Some(i)) => cluster.jump(i, step.much),
            (Kind::Rot, Some(i)) => return self.rot(world, i, much).is_some(),
            _ => {}
        }
        true
    }

    /// Who would show it as the master: slaves hardly talk to each other, and do not stamp records.
    pub(super) fn speaker(&self) -> Option<usize> {
        match self.kind {
            Kind::SlowLink | Kind::Jump => self.nodes.first().copied(),
            _ => self.links.first().map(|(from, _)| *from),
        }
    }

    /// What has shown nothing yet is given another chance: the node may have died over it, which takes with it the
    /// call that was to fail, or may have nothing to do.
    pub(super) fn again(&self, world: &World) {
        if let (Kind::Full, Some(i)) = (self.kind, self.nodes.first().copied()) {
            // What it has removed meanwhile is no room for more.
            world.cluster.set_capacity(i, Some(world.cluster.used(i)));
        }
        let (Some(call), Some(i)) = (self.kind.failing_call(), self.nodes.first().copied()) else { return };
        if world.cluster.ledger(i).is_none() {
            return world.try_start(i);
        }
        if call == DiskCall::Read {
            world.cluster.kill(i);
        }
        world.cluster.mend_disk(i);
        world.cluster.fail_call(i, call, 0);
        world.try_start(i);
    }

    fn take_down(&mut self, world: &World, down: impl Fn(usize)) {
        for i in self.nodes.clone() {
            down(i);
            self.down.push(i);
        }
        let loss = |i: &usize| {
            let evidence = world.cluster.disk_evidence(*i);
            (evidence.blocks_lost, evidence.blocks_kept)
        };
        let (lost, kept) = self.nodes.iter().map(loss).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let when = if self.at_ack { ", right after an acknowledgement" } else { "" };
        self.installed += &format!("{when}; blocks lost and kept by power losses so far: {lost} and {kept}");
    }

    /// A byte that is on the disks of all others rots on this one; `None` if there is no such byte now.
    fn rot(&mut self, world: &World, i: usize, much: u64) -> Option<()> {
        let cluster = &world.cluster;
        // While another one rots, or a node is not well, nobody could help.
        let well = |j: usize| matches!(cluster.role(j), Some(Role::Master { .. } | Role::Slave { .. }));
        let view = cluster.view(i).filter(|_| world.rotten().is_empty() && (0..cluster.size()).all(well))?;
        let committed = view.committed.number.checked_sub(view.numbers.start).filter(|count| *count > 0)?;
        let entry = cluster.entry(i, view.numbers.start + much % committed)?;
        let range = entry.position..entry.position + entry.size;
        let bytes = cluster.live_bytes(i, range.clone())?;
        let stored = (0..cluster.size()).all(|j| cluster.durable_bytes(j, range.clone()).as_ref() == Some(&bytes));
        let offset = (much >> 8) % entry.size;
        let (position, before) = (entry.position + offset, *bytes.get(offset as usize).filter(|_| stored)?);
        cluster.kill(i);
        self.down = vec![i];
        cluster.rot(i, position);
        self.rotten = Some((position, before));
        self.installed += &format!("; the byte at position {position} of n{i} rots");
        Some(())
    }

    /// Undoes the faults that have an end. It starts no node that is down.
    pub(super) fn remove(&self, world: &World) {
        let cluster = &world.cluster;
        let much = self.much.unsigned_abs();
        for (from, to) in &self.links {
            cluster.mend_link(*from, *to);
        }
        match (self.kind, self.nodes.first().copied()) {
            (Kind::Loss, _) => cluster.disturb(|noise| noise.loss -= much),
            (Kind::Duplicates, _) => cluster.disturb(|noise| noise.duplication -= much),
            (Kind::Disorder, _) => cluster.disturb(|noise| noise.disorder -= much),
            (Kind::SlowLink, Some(from)) => cluster.delay(from, self.nodes[1], Duration::ZERO),
            (Kind::SyncFails | Kind::WriteFails | Kind::ReadFails, Some(i)) => cluster.mend_disk(i),
            (Kind::Full, Some(i)) => cluster.set_capacity(i, None),
            (Kind::Hang, Some(i)) => cluster.hang_syncs(i, false),
            (Kind::SlowDisk, Some(i)) => cluster.slow_syncs(i, Duration::ZERO),
            (Kind::Jump, Some(i)) => cluster.jump(i, -self.much),
            _ => {}
        }
    }

    /// What shows that it did something, if it has.
    pub(super) fn evidence(&self, world: &World) -> Option<String> {
        let cluster = &world.cluster;
        let (traffic, before) = (cluster.traffic(), self.traffic_before);
        let disk = self.nodes.first().map(|i| cluster.disk_evidence(*i)).unwrap_or_default();
        let (count, what) = match self.kind {
            Kind::Loss => (traffic.lost - before.lost, "messages lost"),
            Kind::Duplicates => (traffic.duplicated - before.duplicated, "calls arrived twice"),
            Kind::Disorder => (traffic.disordered - before.disordered, "messages out of order"),
            Kind::SlowLink => (traffic.late - before.late, "messages late"),
            Kind::SyncFails | Kind::WriteFails | Kind::ReadFails => {
                (disk.failed - self.disk_before.failed, "calls failed")
            }
            Kind::Full => (disk.found_full - self.disk_before.found_full, "calls found the disk full or nearly so"),
            Kind::Hang | Kind::SlowDisk => (disk.held_up - self.disk_before.held_up, "flush passes held up"),
            Kind::Jump => {
                let reads = self.nodes.first().map_or(0, |i| cluster.clock_reads(*i));
                (reads - self.clock_before, "looks at the clock that had jumped")
            }
            Kind::Rot => {
                let (position, before) = self.rotten?;
                let mended = cluster.live_bytes(self.nodes[0], position..position + 1) == Some(vec![before]);
                return mended.then(|| format!("the byte at position {position} was repaired"));
            }
            _ if !self.links.is_empty() => {
                let lost: u64 = self.links.iter().map(|(from, to)| cluster.lost_on(*from, *to)).sum();
                (lost - self.lost_before, "messages lost on the links that were cut")
            }
            _ => (self.down.len() as u64, "processes ended"),
        };
        (count > 0).then(|| format!("{count} {what}"))
    }
}
