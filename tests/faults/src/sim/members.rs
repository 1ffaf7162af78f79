//! Who looks after a cluster in which things go wrong: replaces lost disks, has members come and go, hands the
//! leadership about, and removes old records.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dledger::{Ledger, NodeId, Peers};
use dledger_history::{Answer, Call, FaultEvent, FaultPhase, What};
use dledger_sim as sim;

use super::schedule::{Kind, Step};
use super::world::{World, name};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How often something is tried that may be given up.
const ATTEMPTS: u32 = 6;
/// Clients with these numbers and above are operators.
const OPERATORS: u64 = 1000;
/// Faults with these numbers and above are disks that were wiped.
const WIPES: u64 = 10_000;
/// The fewest voters that a cluster has.
const FEWEST: usize = 3;

/// Starts what operators do, each in a task of its own.
#[derive(Clone)]
pub(super) struct Members {
    world: World,
    /// A change of the members, or a lost disk, is under way.
    changing: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Members {
    pub(super) fn new(world: World) -> Self {
        Self { world, changing: Arc::default(), calls: Arc::default() }
    }

    /// Whether a change of the members, or a lost disk, is under way.
    pub(super) fn is_changing(&self) -> bool {
        self.changing.load(Ordering::Relaxed)
    }

    /// Whether the step is something that operators do; it has begun then.
    pub(super) fn does(&self, step: &Step, nodes: &[usize]) -> bool {
        let (this, Some(i)) = (self.clone(), nodes.first().copied()) else { return false };
        match step.kind {
            Kind::Transfer => this.hand_over(i),
            Kind::RemoveBelow => {
                let much = step.much.unsigned_abs();
                drop(sim::spawn(async move { this.remove_below(i, much).await }));
            }
            Kind::Wipe | Kind::Grow | Kind::Shrink => {
                if self.changing.swap(true, Ordering::Relaxed) {
                    self.world.count("steps skipped", 1);
                    return true;
                }
                let kind = step.kind;
                drop(sim::spawn(async move {
                    match kind {
                        Kind::Wipe => this.replace(i).await,
                        Kind::Grow => this.grow().await,
                        _ => this.shrink(i).await,
                    }
                    this.changing.store(false, Ordering::Relaxed);
                }));
            }
            _ => return false,
        }
        true
    }

    /// Has the master hand over to node `i`.
    pub(super) fn hand_over(&self, i: usize) {
        let this = self.clone();
        drop(sim::spawn(async move { this.transfer(i).await }));
    }

    fn master(&self) -> Option<Ledger> {
        self.world.cluster.master().and_then(|master| self.world.cluster.ledger(master))
    }

    /// Writes a call into the history. It may have been done unless it says that it was not.
    async fn call<T, E>(&self, call: Call, work: impl Future<Output = Result<T, E>> + Send) -> Option<T>
    where
        T: Send,
        E: Display + Send,
    {
        let client = OPERATORS + self.calls.fetch_add(1, Ordering::Relaxed);
        let op = self.world.recorder.invoke(client, call);
        match sim::within(2 * ATTEMPT, work).await {
            Some(Ok(done)) => {
                self.world.recorder.ok(op, Answer::Done);
                Some(done)
            }
            // Whatever it was: part of it may have been done.
            Some(Err(error)) => {
                self.world.recorder.unknown(op, error);
                None
            }
            None => {
                self.world.recorder.unknown(op, "no answer");
                None
            }
        }
    }

    async fn transfer(self, to: usize) {
        let Some(master) = self.master() else { return };
        let id = NodeId::new(to as u64);
        let done = self.call(Call::Transfer { to: name(to) }, master.transfer_leadership(&id)).await;
        self.world.count("transfers", u64::from(done.is_some()));
    }

    async fn remove_below(self, i: usize, per_mille: u64) {
        let Some(ledger) = self.world.cluster.ledger(i) else { return };
        let status = ledger.status();
        let index = status.first + (status.committed - status.first) * per_mille / 1000;
        let done = self.call(Call::RemoveBelow { index, node: name(i) }, ledger.remove_below(index)).await;
        self.world.count("removals", u64::from(done.is_some()));
    }

    fn wiped(&self, number: u64, i: usize, phase: FaultPhase, evidence: &str) {
        let (kind, nodes, evidence) = ("wipe".to_owned(), vec![name(i)], evidence.to_owned());
        let fault = FaultEvent { fault: WIPES + number, kind, nodes, phase, evidence };
        self.world.recorder.record(What::Fault(fault));
    }

    /// The disk of node `i` is lost. It stays so until it has been replaced.
    async fn replace(&self, i: usize) {
        let (cluster, id) = (&self.world.cluster, NodeId::new(i as u64));
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let lost = cluster.used(i);
        cluster.wipe(i);
        self.wiped(number, i, FaultPhase::Installed, "");
        self.wiped(number, i, FaultPhase::Observed, &format!("{lost} bytes of files are gone"));
        while !self.world.is_over() {
            sim::pass(Duration::from_millis(100)).await;
            if cluster.ledger(i).is_none() {
                self.world.try_start(i);
                continue;
            }
            let Some(master) = self.master() else { continue };
            let change = Call::Members { change: format!("replace n{i}") };
            let address = cluster.address(i);
            if self.call(change, master.replace_member(&id, &address, ATTEMPT)).await.is_some() {
                self.wiped(number, i, FaultPhase::Removed, "");
                return self.world.count("disks replaced", 1);
            }
        }
    }

    fn voters(&self, master: &Ledger) -> Vec<NodeId> {
        let members = master.status().members.into_iter();
        members.filter(|member| member.voter).map(|member| member.member.id).collect()
    }

    /// A spare node becomes a voter.
    async fn grow(&self) {
        for _ in 0..ATTEMPTS {
            sim::pass(Duration::from_millis(50)).await;
            let Some(master) = self.master() else { continue };
            let (cluster, voters) = (&self.world.cluster, self.voters(&master));
            let outside = |i: &usize| !voters.contains(&NodeId::new(*i as u64)) && cluster.ledger(*i).is_some();
            let Some(i) = (0..cluster.size()).find(outside) else { return };
            let address = cluster.address(i);
            let add = async {
                let member = master.add_learner(&address).await?;
                master.promote(&member.id, ATTEMPT).await
            };
            let added: Option<()> = self.call(Call::Members { change: format!("add n{i}") }, add).await;
            if added.is_some() {
                return self.world.count("members added", 1);
            }
        }
    }

    /// A voter is taken out. What it has is not wanted back: it gets an empty disk, and can join again.
    async fn shrink(&self, i: usize) {
        let (cluster, id) = (&self.world.cluster, NodeId::new(i as u64));
        for _ in 0..ATTEMPTS {
            sim::pass(Duration::from_millis(50)).await;
            let Some(master) = self.master() else { continue };
            let voters = self.voters(&master);
            if !voters.contains(&id) || voters.len() <= FEWEST {
                return;
            }
            let remove = master.remove_member(&id);
            if self.call(Call::Members { change: format!("remove n{i}") }, remove).await.is_none() {
                continue;
            }
            self.world.count("members removed", 1);
            while self.world.is_starting(i) {
                sim::pass(Duration::from_millis(10)).await;
            }
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            cluster.wipe(i);
            self.wiped(number, i, FaultPhase::Installed, "");
            self.wiped(number, i, FaultPhase::Observed, "it was taken out of the membership before");
            cluster.configure(i, |config| {
                config.peers = Peers::default();
                config.join = true;
            });
            self.wiped(number, i, FaultPhase::Removed, "");
            return self.world.try_start(i);
        }
    }
}
