//! Which clients there are, and all of them at work.

use std::sync::Arc;
use std::time::Duration;

use dledger::{Consistency, NodeId};
use dledger_history::Recorder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Progress;
use super::appends::{self, Ways};
use super::bodies::Bodies;
use super::sampler::{Findings, sampler};
use super::{reads, tails};
use crate::cluster::Cluster;
use crate::rng::Rng;

/// How long a call may take: longer than a failover, shorter than most faults.
const CALL: Duration = Duration::from_secs(4);
/// How often the nodes are asked what they are.
const SAMPLE: Duration = Duration::from_millis(200);
/// How often each node is asked for what is about the end.
const PROBE: Duration = Duration::from_millis(40);
/// How long a tail that broke waits.
const TAIL_AGAIN: Duration = Duration::from_millis(100);
/// Longest that the clients may take to end: a call's time, and what the client adds to it.
const END: Duration = Duration::from_secs(20);

/// Which clients there are. All are paced, so that a run of hours stays within a few million calls.
#[derive(Debug, Clone)]
pub struct Load {
    /// Clients that append one record after the other.
    pub appenders: u64,
    /// Clients that append one batch after the other.
    pub batchers: u64,
    /// Clients that append in a session, with several under way.
    pub sessions: u64,
    /// Clients that get and read.
    pub readers: u64,
    /// Between two calls of a client.
    pub every: Duration,
    /// Largest record, bytes.
    pub largest: usize,
    /// Bytes in the ledger before anything else happens.
    pub fill: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            appenders: 3,
            batchers: 1,
            sessions: 2,
            readers: 4,
            every: Duration::from_millis(12),
            largest: 8 << 10,
            fill: 0,
        }
    }
}

/// All clients at work.
pub struct Workload {
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    sampler: JoinSet<()>,
    sampling: watch::Sender<bool>,
    findings: Findings,
    filler: (Ways, Bodies),
}

impl Workload {
    /// Fills the ledger and starts the clients.
    ///
    /// # Errors
    /// The ledger could not be filled.
    pub async fn start(load: &Load, cluster: &Arc<Cluster>, recorder: &Recorder, rng: &Rng) -> Result<Self, String> {
        let progress = Arc::new(Progress::new(recorder.clone()));
        let (stop, stopping) = watch::channel(false);
        let (sampling, sampled) = watch::channel(false);
        let names: Result<Vec<NodeId>, _> = cluster.nodes.iter().map(|node| node.name().parse()).collect();
        let nodes = Arc::new(names.map_err(|error| format!("{error}"))?);
        let mut number = 0;
        let mut ways = |every: Duration, stop: &watch::Receiver<bool>| {
            number += 1;
            Ways { number, client: cluster.client(CALL), progress: progress.clone(), stop: stop.clone(), every }
        };
        let bodies = |ways: &Ways| Bodies::new(ways.number, rng.fork(ways.number), load.largest);
        let findings = Findings::default();
        let mut samplers = JoinSet::new();
        samplers.spawn(sampler(ways(SAMPLE, &sampled), cluster.clone(), findings.clone()));
        let filler = ways(load.every, &stopping);
        let mut filling = bodies(&filler);
        appends::fill(&filler, &mut filling, load.fill).await?;

        let mut clients = JoinSet::new();
        for _ in 0..load.appenders {
            let ways = ways(load.every, &stopping);
            let bodies = bodies(&ways);
            clients.spawn(appends::one_by_one(ways, bodies, 1));
        }
        for n in 0..load.batchers {
            let ways = ways(load.every * 3, &stopping);
            let bodies = bodies(&ways);
            clients.spawn(appends::one_by_one(ways, bodies, 2 + 5 * n as usize));
        }
        for n in 0..load.sessions {
            let ways = ways(load.every, &stopping);
            let bodies = bodies(&ways);
            // The second goes on for a while when nothing is acknowledged.
            clients.spawn(appends::session(ways, bodies, 4 + 60 * n as usize));
        }
        for _ in 0..load.readers {
            let ways = ways(load.every, &stopping);
            let rng = rng.fork(ways.number);
            clients.spawn(reads::reader(ways, rng, nodes.clone()));
        }
        for node in nodes.iter() {
            for consistency in [Consistency::Local, Consistency::Lease] {
                let ways = ways(PROBE, &stopping);
                let rng = rng.fork(ways.number);
                clients.spawn(reads::prober(ways, rng, node.clone(), consistency));
            }
            clients.spawn(tails::tail(ways(TAIL_AGAIN, &stopping), node.clone()));
        }
        Ok(Self { progress, stop, clients, sampler: samplers, sampling, findings, filler: (filler, filling) })
    }

    /// Appends that number of bytes, as fast as the cluster takes them.
    ///
    /// # Errors
    /// The first append that was not acknowledged.
    pub async fn fill(&mut self, bytes: u64) -> Result<(), String> {
        let (ways, bodies) = &mut self.filler;
        appends::fill(ways, bodies, bytes).await
    }

    /// What came of the calls by now.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Ends the clients; each finishes its call. The nodes are still watched.
    ///
    /// # Errors
    /// A client does not end, or has panicked.
    pub async fn stop(&mut self) -> Result<(), String> {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.map_err(|error| format!("a client failed: {error}"))?;
            }
            Ok(())
        };
        match tokio::time::timeout(END, all).await {
            Ok(ended) => ended,
            Err(_) => {
                self.clients.abort_all();
                Err(format!("a call has not ended {END:?} after the clients were told to stop"))
            }
        }
    }

    /// Looks no more after the nodes.
    ///
    /// # Errors
    /// Nobody has looked for some time: what was found is not all there was.
    pub async fn stop_looking(&mut self) -> Result<(), String> {
        // It ends when it is told to, and not before.
        let early = self.sampler.try_join_next();
        self.sampling.send_replace(true);
        let ended = match early {
            Some(Ok(())) => return Err("who looks after the nodes ended before it was told to".into()),
            Some(ended) => Some(ended),
            None => self.sampler.join_next().await,
        };
        match ended {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(format!("who looks after the nodes failed: {error}")),
            None => Err("nobody looked after the nodes".into()),
        }
    }

    /// What must not have been, as it was found out.
    pub fn findings(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.findings.lock())
    }
}
