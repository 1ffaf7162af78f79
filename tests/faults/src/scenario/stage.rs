//! A cluster under load, and the faults on it with their evidence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dledger_history::{FaultEvent, FaultPhase, What};
use rustix::process::Signal;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};

use super::Trouble;
use crate::cluster::{Cluster, Node, leader_of};
use crate::machine::{Fault, Installed, Machine};
use crate::rng::Rng;
use crate::workload::{Progress, Workload};

/// Within this time a cluster with a majority that can talk must acknowledge again.
const ALIVE: Duration = Duration::from_secs(30);
/// Within this time a node that was started must answer.
const UP: Duration = Duration::from_secs(60);
/// The longest wait for the effect of a fault.
const EFFECT: Duration = Duration::from_secs(6);
/// So many acks show that the cluster is at work.
const AT_WORK: u64 = 20;

/// A cluster under load.
pub struct Stage {
    /// Its nodes.
    pub cluster: Arc<Cluster>,
    /// What can be done to them.
    pub machine: Machine,
    /// Its clients.
    pub workload: Workload,
    /// Chance.
    pub rng: Rng,
    /// Who belongs to the cluster: these hold the same in the end.
    pub members: Vec<usize>,
    hold: Duration,
    next: u64,
    faults: BTreeMap<String, u64>,
    /// Term of the leader that was found last.
    term: AtomicU64,
}

/// A fault that is there.
pub struct Standing {
    number: u64,
    kind: String,
    nodes: Vec<String>,
    installed: Option<Installed>,
}

impl Stage {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        machine: Machine,
        workload: Workload,
        rng: Rng,
        members: Vec<usize>,
        hold: Duration,
    ) -> Self {
        let (faults, term) = (BTreeMap::new(), AtomicU64::new(0));
        Self { cluster, machine, workload, rng, members, hold, next: 0, faults, term }
    }

    /// What came of the calls.
    pub fn progress(&self) -> &Arc<Progress> {
        self.workload.progress()
    }

    /// How many faults there were, by kind.
    pub fn faults(&self) -> &BTreeMap<String, u64> {
        &self.faults
    }

    /// A node.
    pub fn node(&self, n: usize) -> Arc<Node> {
        self.cluster.nodes[n].clone()
    }

    /// The machine's name of a node.
    pub fn id(n: usize) -> u64 {
        n as u64 + 1
    }

    /// The machine's names of all members.
    pub fn ids(&self) -> Vec<u64> {
        self.members.iter().map(|n| Self::id(*n)).collect()
    }

    /// The member that leads. Its term is remembered: see [`Stage::another_leads`].
    ///
    /// # Errors
    /// None does.
    pub async fn leader(&self) -> Result<usize, Trouble> {
        let (leader, term) = self.cluster.leader(ALIVE).await.map_err(Trouble::Violation)?;
        self.term.store(term, Ordering::SeqCst);
        Ok(leader)
    }

    /// A member that does not lead.
    ///
    /// # Errors
    /// None leads.
    pub async fn follower(&mut self) -> Result<usize, Trouble> {
        let leader = self.leader().await?;
        Ok(self.others(leader)[0])
    }

    /// All members but this one, in any order.
    pub fn others(&mut self, than: usize) -> Vec<usize> {
        let mut others: Vec<_> = self.members.iter().copied().filter(|n| *n != than).collect();
        self.rng.shuffle(&mut others);
        others
    }

    /// A fault begins.
    pub fn begin(&mut self, kind: &str, nodes: &[usize], evidence: impl ToString) -> Standing {
        let nodes = nodes.iter().map(|n| self.cluster.nodes[*n].name().to_owned()).collect();
        let standing = Standing { number: self.next, kind: kind.to_owned(), nodes, installed: None };
        self.next += 1;
        *self.faults.entry(kind.to_owned()).or_default() += 1;
        self.write(&standing, FaultPhase::Installed, evidence.to_string());
        standing
    }

    /// It did something. A fault of the machine has to show that itself: of such a one this is a note.
    pub fn see(&self, standing: &Standing, evidence: impl ToString) {
        match standing.installed {
            Some(_) => self.note(evidence),
            None => self.write(standing, FaultPhase::Observed, evidence.to_string()),
        }
    }

    /// Something for people, which proves nothing.
    pub fn note(&self, text: impl ToString) {
        self.progress().recorder().record(What::Note { text: text.to_string() });
    }

    /// It is gone.
    pub fn end(&self, standing: &Standing, evidence: impl ToString) {
        self.write(standing, FaultPhase::Removed, evidence.to_string());
    }

    fn write(&self, standing: &Standing, phase: FaultPhase, evidence: String) {
        let Standing { number, kind, nodes, .. } = standing;
        let event = FaultEvent { fault: *number, kind: kind.clone(), nodes: nodes.clone(), phase, evidence };
        self.progress().recorder().record(What::Fault(event));
    }

    /// Puts a fault of the machine in place.
    ///
    /// # Errors
    /// That cannot be done.
    pub fn install(&mut self, fault: &dyn Fault) -> Result<Standing, Trouble> {
        let nodes: Vec<usize> = fault.nodes().iter().map(|id| *id as usize - 1).collect();
        let began = Instant::now();
        let installed = block_in_place(|| fault.install())?;
        let mut standing = self.begin(fault.kind(), &nodes, format!("in place after {:.0?}", began.elapsed()));
        standing.installed = Some(installed);
        Ok(standing)
    }

    /// Waits until a fault of the machine is seen to do something. If it never is, the run proves nothing: the judge
    /// says so.
    ///
    /// # Errors
    /// That cannot be told.
    pub async fn seen(&self, standing: &mut Standing) -> Result<(), Trouble> {
        let mut look = interval(Duration::from_millis(100));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        while began.elapsed() < EFFECT {
            look.tick().await;
            if let Some(installed) = standing.installed.as_mut()
                && let Some(evidence) = block_in_place(|| installed.observed())?
            {
                self.write(standing, FaultPhase::Observed, evidence);
                break;
            }
        }
        Ok(())
    }

    /// Takes a fault of the machine away.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(&self, mut standing: Standing) -> Result<(), Trouble> {
        if let Some(mut installed) = standing.installed.take() {
            block_in_place(|| installed.remove())?;
            if let Some(evidence) = block_in_place(|| installed.observed())? {
                self.write(&standing, FaultPhase::Observed, evidence);
            }
        }
        self.end(&standing, "");
        Ok(())
    }

    /// A fault lasts for a while.
    pub async fn hold(&mut self) {
        let hold = self.hold.as_millis() as u64;
        let while_it_lasts = Duration::from_millis(self.rng.within(hold * 2 / 3..hold * 4 / 3 + 1));
        let mut clock = interval(while_it_lasts);
        clock.tick().await;
        clock.tick().await;
    }

    /// Waits until clients are acknowledged again.
    ///
    /// # Errors
    /// They are not in time: the cluster has come to a standstill.
    pub async fn at_work(&self, although: &str) -> Result<(), Trouble> {
        let Err(error) = self.progress().acked(AT_WORK, ALIVE).await else { return Ok(()) };
        let never = |_: &[_]| None::<()>;
        let said = self.cluster.until("acks", Duration::ZERO, never).await.err().unwrap_or_default();
        Err(Trouble::Violation(format!("standstill {although}: {error}. {said}")))
    }

    /// Another one leads, in a higher term than the leader that was found last: who. It proves no fault: masters also
    /// change without one.
    ///
    /// # Errors
    /// Nobody else does.
    pub async fn another_leads(&self, old: usize, although: &str) -> Result<usize, Trouble> {
        let before = self.term.load(Ordering::SeqCst);
        let found = self.cluster.until("another master", ALIVE, |said| {
            let (new, status) = leader_of(said)?;
            (new != old && status.term > before).then_some((new, status.term))
        });
        let told = |error| Trouble::Violation(format!("nobody took over {although}: {error}"));
        let (new, term) = found.await.map_err(told)?;
        let (from, to) = (self.node(old), self.node(new));
        self.note(format!("{} led in term {before}; {} is master of term {term} now", from.name(), to.name()));
        Ok(new)
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn up(&self, n: usize) -> Result<(), Trouble> {
        let node = self.node(n);
        if !node.runs().await {
            node.start().await?;
        }
        let what = format!("{} answers after its start", node.name());
        let up = self.cluster.until(&what, UP, |said| said[n].as_ref().map(|_| ()));
        tokio::select! {
            up = up => up.map_err(|error| {
                let last = node.last_lines(3).join("\n  ");
                Trouble::Violation(format!("{error}. Its log ends with:\n  {last}"))
            }),
            () = gone(&node) => Err(Trouble::Violation(format!("{} was started, and ended", node.name()))),
        }
    }

    /// After everything, or in the middle of it: all processes run.
    ///
    /// # Errors
    /// One does not come up.
    pub async fn all_up(&self) -> Result<(), Trouble> {
        for n in &self.members {
            let node = self.node(*n);
            if node.state().await == Some('T') {
                node.signal(Signal::CONT).await?;
            }
            if !node.runs().await {
                node.start().await?;
            }
        }
        for n in &self.members {
            self.up(*n).await?;
        }
        Ok(())
    }
}

/// Returns when the process of the node has ended.
async fn gone(node: &Node) {
    let mut look = interval(Duration::from_millis(100));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if !node.runs().await {
            return;
        }
    }
}
