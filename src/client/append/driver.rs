//! The task that owns the append stream.
//!
//! The driver finds the master, opens an [`AppendSession`] with it, sends the queued appends, tells the callers, and
//! starts over when the session ends. Whatever happens, an append is in exactly one place: in the queue (not in the
//! log) or in the session (maybe in the log).

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::append::queue::{AppendJob, AppendQueue};
use crate::client::append::session::{AppendSession, Settlement, StreamEnd, fail};
use crate::client::backoff::pause;
use crate::client::cluster::search::Search;
use crate::client::cluster::topology::{BUSY_PAUSE, Topology};
use crate::client::error::ClientError;
use crate::client::error::timed_out::Wanted;
use crate::types::Span;

/// Unanswered requests from which on a request that is not full waits for more appends, so that they travel together
/// instead of in many small requests. A lone append never waits.
const COALESCE_FROM: usize = 8;
/// How often the driver checks deadlines and whether the master is silent.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// Silence of a master after which the driver asks the other nodes whether one of them is master now.
const SILENT_AFTER: Duration = Duration::from_millis(500);
/// How long the other nodes have to answer the first such question; doubled each time that none of them is master.
const FIRST_POLL: Duration = Duration::from_millis(300);
/// Time without an append after which the next one searches for the master as if it had just been lost, with short
/// pauses.
const IDLE_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct AppendDriver {
    topology: Arc<Topology>,
    jobs: mpsc::UnboundedReceiver<AppendJob>,
    queue: AppendQueue,
    /// All handles of the client are gone: no further append comes.
    closed: bool,
    /// The master's address, as the last refusal named it.
    hint: Option<String>,
    /// Refusals in a row.
    refusals: u32,
    /// Since when appends wait and no master has taken any.
    masterless_since: Option<Instant>,
}

/// A session that sends no more because its node refused, or because the nodes are of two clusters.
struct Draining {
    hint: Option<String>,
    /// Until when the driver waits for the answers to what the session has sent.
    until: Instant,
}

impl AppendDriver {
    pub(crate) fn new(topology: Arc<Topology>, jobs: mpsc::UnboundedReceiver<AppendJob>) -> Self {
        Self {
            topology,
            jobs,
            queue: AppendQueue::default(),
            closed: false,
            hint: None,
            refusals: 0,
            masterless_since: None,
        }
    }

    /// Works until all handles of the client are gone and every append has its outcome.
    pub(crate) async fn run(mut self) {
        while self.has_work().await {
            if self.refusals > 1 {
                let paused = sleep(pause(self.masterless_since().elapsed()));
                if self.within_deadlines(paused).await.is_none() {
                    continue;
                }
            }
            if let Some(session) = self.open().await {
                self.topology.set_master(Some(session.address.clone()));
                self.drive(session).await;
            }
        }
    }

    async fn has_work(&mut self) -> bool {
        if self.queue.is_empty() {
            let rested = Instant::now() + IDLE_AFTER;
            match self.jobs.recv().await {
                Some(job) => self.queue.push(job),
                None => return false,
            }
            if rested <= Instant::now() {
                self.masterless_since = None;
            }
        }
        true
    }

    fn masterless_since(&mut self) -> Instant {
        *self.masterless_since.get_or_insert_with(Instant::now)
    }

    /// A session with the master; `None` if the queue ran empty before there was one.
    async fn open(&mut self) -> Option<AppendSession> {
        let topology = self.topology.clone();
        let hint = self.hint.take().or_else(|| topology.master());
        // So that the search asks this node too.
        hint.iter().for_each(|address| _ = topology.learn(address));
        // While the nodes seem to be of two clusters, the search asks all of them again.
        let mut target = hint.filter(|_| topology.check_one_cluster().is_ok());
        let mut search = Search::new(&topology, self.masterless_since());
        loop {
            let patience = self.queue.next_deadline()?;
            let attempt = async {
                let address = match target.take() {
                    // Another node named this one, which does not yet prove that it is of this cluster.
                    Some(address) if topology.is_vetted(&address).await => address,
                    _ => search.master().await?,
                };
                let opened = AppendSession::open(&topology, address.clone(), patience).await;
                if let Err(error) = &opened {
                    topology.note_refusal(&address, error);
                    topology.set_master(None);
                    if matches!(error, ClientError::Busy { .. }) {
                        sleep(BUSY_PAUSE).await;
                    }
                }
                Ok(opened)
            };
            match self.within_deadlines(attempt).await? {
                Ok(Ok(session)) => return Some(session),
                Ok(Err(error)) => tracing::debug!(%error, "no append stream there"),
                Err(hopeless) => {
                    fail(self.queue.take_all(), &hopeless);
                    return None;
                }
            }
        }
    }

    /// Runs `attempt`, and meanwhile queues new appends and gives up those whose deadline passes. `None` if no append
    /// is left to make the attempt for.
    async fn within_deadlines<T>(&mut self, attempt: impl Future<Output = T>) -> Option<T> {
        let mut attempt = std::pin::pin!(attempt);
        loop {
            let deadline = self.queue.next_deadline()?;
            tokio::select! {
                biased;
                done = &mut attempt => return Some(done),
                () = sleep_until(deadline) => {
                    self.expire(|job, topology| topology.timed_out(Wanted::Master, job.since));
                }
                job = self.jobs.recv(), if !self.closed => match job {
                    Some(job) => self.queue.push(job),
                    None => self.closed = true,
                },
            }
        }
    }

    /// Refuses the queued appends whose deadline has passed.
    fn expire(&mut self, why: impl Fn(&AppendJob, &Topology) -> ClientError) {
        for job in self.queue.expired(Instant::now()) {
            let why = why(&job, &self.topology);
            job.finish(Err(why));
        }
    }

    /// Appends over `session` until it breaks, its node refuses, or there is nothing left to do.
    async fn drive(&mut self, mut session: AppendSession) {
        let requests = session.requests();
        let mut connected = true;
        let mut draining: Option<Draining> = None;
        let mut ask = FIRST_POLL;
        let mut other_master: Option<BoxFuture<'static, Option<String>>> = None;
        let mut tick = tokio::time::interval(CHECK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.take_jobs();
            if session.unanswered() == 0 && (self.closed && self.queue.is_empty() || draining.is_some()) {
                break;
            }
            let worth = session.unanswered() < COALESCE_FROM || self.queue.is_full_request();
            let sends = connected && draining.is_none() && !self.queue.is_empty() && worth;
            tokio::select! {
                biased;
                answer = session.answer() => match answer.and_then(|answer| session.settle(answer)) {
                    Ok(settlement) => self.on_settlement(&session.address, settlement, &mut draining),
                    Err(StreamEnd::Broken(why)) => return self.on_broken(session, &why, None),
                    Err(StreamEnd::Refused(error)) => return self.on_refused(session, &error),
                },
                room = requests.reserve(), if sends => match room {
                    Ok(room) => {
                        drop(room);
                        if let Err(jobs) = session.send(self.queue.next_request()) {
                            self.queue.put_back(jobs);
                        }
                    }
                    // The answers say why.
                    Err(_) => connected = false,
                },
                job = self.jobs.recv(), if !self.closed => match job {
                    Some(job) => self.queue.push(job),
                    None => self.closed = true,
                },
                Some(found) = OptionFuture::from(other_master.as_mut()) => {
                    other_master = None;
                    if let Some(master) = found {
                        return self.on_broken(session, &format!("{master} is master now"), Some(master));
                    }
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    self.on_tick(now, &mut session, &mut draining);
                    if draining.as_ref().is_some_and(|draining| draining.until <= now) {
                        break;
                    }
                    let silent = session.unanswered() > 0 && session.progress + SILENT_AFTER <= now;
                    if silent && other_master.is_none() {
                        let (topology, address) = (self.topology.clone(), session.address.clone());
                        let within = ask;
                        ask = (ask * 2).min(topology.settings.timeout).max(FIRST_POLL);
                        other_master = Some(async move { topology.better_master(&address, within).await }.boxed());
                    } else if !silent {
                        ask = FIRST_POLL;
                    }
                }
            }
        }
        session.abandon("its node is not the master any more");
        self.hint = draining.and_then(|draining| draining.hint);
        self.topology.set_master(None);
    }

    /// Gives up what is too late, and drains the session if the nodes are not of one cluster any more.
    fn on_tick(&mut self, now: Instant, session: &mut AppendSession, draining: &mut Option<Draining>) {
        session.expire(now);
        self.expire(|job, topology| match draining {
            Some(_) => topology.timed_out(Wanted::Master, job.since),
            None => not_taken(&session.address, now - job.since),
        });
        if draining.is_none() && self.topology.check_one_cluster().is_err() {
            // The next search refuses the queued appends, or finds that the nodes are of one cluster after all.
            *draining = Some(Draining { hint: None, until: now + self.topology.connect_timeout() });
        }
    }

    /// Queues all appends that have come, so that they can travel together.
    fn take_jobs(&mut self) {
        while let Ok(job) = self.jobs.try_recv() {
            self.queue.push(job);
        }
    }

    fn on_settlement(&mut self, address: &str, settlement: Settlement, draining: &mut Option<Draining>) {
        let (jobs, error) = match settlement {
            Settlement::Told => {
                (self.refusals, self.masterless_since) = (0, None);
                return;
            }
            Settlement::Requeue(jobs, error) => (jobs, error),
        };
        self.queue.put_back(jobs);
        if !error.is_transient() {
            return;
        }
        self.topology.note_refusal(address, &error);
        if draining.is_none() {
            tracing::debug!(%error, "append refused, looking for the master");
            self.refusals += 1;
            *draining = Some(Draining { hint: None, until: Instant::now() + self.topology.connect_timeout() });
        }
        if let (Some(draining), ClientError::NotMaster { address, .. }) = (draining, error)
            && !address.is_empty()
            // After a second refusal in a row the driver follows no hint and asks every node, or nodes could send it on
            // and on.
            && self.refusals <= 1
        {
            draining.hint = Some(address);
        }
    }

    /// The node ended the session, and took none of the requests that it has not answered.
    fn on_refused(&mut self, session: AppendSession, error: &ClientError) {
        tracing::debug!(address = session.address, %error, "append stream refused");
        self.refusals += 1;
        self.topology.note_refusal(&session.address, error);
        // A node that had too much to decode, or no room, is still master.
        let master = matches!(error, ClientError::TooLarge { .. } | ClientError::Busy { .. });
        let master = master.then(|| session.address.clone());
        self.queue.put_back(session.refused_all(error));
        self.expire(|job, topology| topology.timed_out(Wanted::Master, job.since));
        self.topology.set_master(master);
    }

    /// The session broke: what it was sent may be in the log.
    fn on_broken(&mut self, session: AppendSession, why: &str, master: Option<String>) {
        tracing::debug!(address = session.address, why, "append stream lost");
        session.abandon(why);
        self.topology.set_master(master);
    }
}

/// The error of an append that the master at `address` has not taken for `waited`.
fn not_taken(address: &str, waited: Duration) -> ClientError {
    let waited = Span(waited);
    let message = format!(
        "{address} is master and has not taken this within {waited}: it has too much to do, or the connection is slow. \
         Append less at once, or give it longer"
    );
    ClientError::Busy { message }
}
