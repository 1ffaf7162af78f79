//! The appends, and the kill in their middle.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dledger::{Client, ClientError, PendingAppend};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};

use crate::nodes::Nodes;
use crate::{Result, Timeline};

/// What is appended, and how.
pub(crate) struct Load<'a> {
    pub(crate) lines: &'a [Bytes],
    pub(crate) inflight: usize,
    pub(crate) kill: bool,
    pub(crate) progress: bool,
}

/// What became of it.
pub(crate) struct Outcome {
    /// Index of each acknowledged record, by its number.
    pub(crate) index: Vec<Option<u64>>,
    /// Records whose outcome was reported unknown at least once; they were appended again.
    pub(crate) doubtful: HashSet<usize>,
    /// Appends whose outcome was reported unknown.
    pub(crate) unknown: usize,
    /// From the kill to the first ack of an append made after it.
    pub(crate) failover: Option<Duration>,
    /// Acks per second before the kill.
    pub(crate) records_per_second: f64,
}

impl Outcome {
    pub(crate) fn acked(&self) -> usize {
        self.index.iter().flatten().count()
    }
}

/// One append under way.
async fn outcome(
    number: usize,
    made: Instant,
    pending: PendingAppend,
) -> (usize, Instant, std::result::Result<u64, ClientError>) {
    (number, made, pending.await.map(|ack| ack.first_index))
}

impl Load<'_> {
    pub(crate) async fn run(&self, client: &Client, cluster: &mut Nodes, timeline: &Timeline) -> Result<Outcome> {
        let count = self.lines.len();
        let bar = if self.progress { ProgressBar::new(count as u64) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec}")?);
        let mut result = Outcome {
            index: vec![None; count],
            doubtful: HashSet::new(),
            unknown: 0,
            failover: None,
            records_per_second: 0.0,
        };
        let (mut under_way, mut again) = (FuturesUnordered::new(), Vec::new());
        let (mut next, mut acked) = (0, 0);
        let started = Instant::now();
        let mut killed: Option<Instant> = None;
        let mut restart_at = usize::MAX;
        while acked < count {
            while under_way.len() < self.inflight {
                let number = match again.pop() {
                    Some(number) => number,
                    None if next < count => {
                        next += 1;
                        next - 1
                    }
                    None => break,
                };
                let made = Instant::now();
                let pending = client.submit(vec![self.lines[number].clone()]).await?;
                under_way.push(outcome(number, made, pending));
            }
            let Some((number, made, ended)) = under_way.next().await else { break };
            match ended {
                Ok(index) => {
                    if result.index[number].replace(index).is_none() {
                        acked += 1;
                        bar.inc(1);
                    }
                    if killed.is_some_and(|at| made > at) && result.failover.is_none() {
                        result.failover = killed.map(|at| at.elapsed());
                        timeline.tell("the first append after the kill is acked");
                        restart_at = acked + (count - acked) / 2;
                    }
                }
                Err(error) if error.outcome() == dledger::Outcome::Unknown => {
                    result.unknown += 1;
                    result.doubtful.insert(number);
                    again.push(number);
                }
                // Refused: not in the log. The client has tried for its whole timeout.
                Err(error) => return Err(format!("record {number}: {error}").into()),
            }
            if killed.is_none() && acked >= count / 2 {
                result.records_per_second = acked as f64 / started.elapsed().as_secs_f64();
                killed = Some(self.kill_leader(client, cluster, timeline, acked).await?);
            }
            if acked >= restart_at {
                restart_at = usize::MAX;
                cluster.restart_dead()?;
                timeline.tell("the killed node is started again");
            }
        }
        bar.finish_and_clear();
        if !self.kill {
            result.records_per_second = acked as f64 / started.elapsed().as_secs_f64();
        }
        Ok(result)
    }

    /// Kills the leader and says when. Without `kill`, that is when this program has long ended.
    async fn kill_leader(
        &self,
        client: &Client,
        cluster: &mut Nodes,
        timeline: &Timeline,
        acked: usize,
    ) -> Result<Instant> {
        if !self.kill {
            return Ok(Instant::now() + Duration::from_secs(1 << 30));
        }
        let leader = cluster.leader(client).await?;
        let at = Instant::now();
        cluster.kill(&leader)?;
        timeline.tell(format_args!("kill -9 of the leader {leader}, {acked} records acked so far"));
        Ok(at)
    }
}
