//! The task that owns the append stream.
//!
//! It finds the master, opens a [`Session`] with it, sends what waits, tells the callers, and starts over when the
//! session ends. Whatever happens, an append is in exactly one place: in the queue (not in the log) or in the session
//! (maybe in the log).

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::append::queue::{Job, Queue};
use crate::client::append::session::{End, Session, Verdict, fail};
use crate::client::backoff::pause;
use crate::client::cluster::topology::{BUSY_PAUSE, Directory};
use crate::client::error::ClientError;
use crate::client::error::tried::Wanted;
use crate::mutants::{Mutant, planted};
use crate::types::Span;

/// While so many requests are unanswered, one that is not full waits for more appends: they travel together instead of
/// in many small requests. A lone append never waits.
const SMALL_REQUESTS: usize = 8;
/// How often deadlines and the master's silence are looked at.
const TICK: Duration = Duration::from_millis(100);
/// A master that says nothing for so long may be none any more: the others are asked.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the others may take to say what they are, at first; doubled each time that none of them is master.
const ASK: Duration = Duration::from_millis(300);
/// After so long without an append, the next one looks for the master as if it had just been lost.
const REST: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    directory: Arc<Directory>,
    jobs: mpsc::UnboundedReceiver<Job>,
    queue: Queue,
    /// Nobody can append any more.
    closed: bool,
    /// Where the last refusal said the master is.
    hint: Option<String>,
    /// Refusals in a row.
    refusals: u32,
    /// Since when no master has taken anything, while something waits for one.
    without: Option<Instant>,
}

/// A session that sends no more: its node refused.
struct Leaving {
    hint: Option<String>,
    /// Until when it is waited for, to say what became of what it took.
    until: Instant,
}

impl Driver {
    pub(crate) fn new(directory: Arc<Directory>, jobs: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { directory, jobs, queue: Queue::default(), closed: false, hint: None, refusals: 0, without: None }
    }

    /// Works until all handles of the client are gone and every append has its outcome.
    pub(crate) async fn run(mut self) {
        while self.has_work().await {
            if self.refusals > 1 {
                let paused = sleep(pause(self.without().elapsed()));
                if self.within_deadlines(paused).await.is_none() {
                    continue;
                }
            }
            if let Some(session) = self.open().await {
                self.directory.set_master(Some(session.address.clone()));
                self.drive(session).await;
            }
        }
    }

    async fn has_work(&mut self) -> bool {
        if self.queue.is_empty() {
            let rested = Instant::now() + REST;
            match self.jobs.recv().await {
                Some(job) => self.queue.push(job),
                None => return false,
            }
            if rested <= Instant::now() {
                self.without = None;
            }
        }
        true
    }

    fn without(&mut self) -> Instant {
        *self.without.get_or_insert_with(Instant::now)
    }

    /// A session with the master; `None` if the queue ran empty before there was one.
    async fn open(&mut self) -> Option<Session> {
        let directory = self.directory.clone();
        let hint = self.hint.take().or_else(|| directory.master());
        // The search asks it too.
        hint.iter().for_each(|address| _ = directory.learn(address));
        // With nodes of two clusters among them, all are asked again.
        let mut target = hint.filter(|_| directory.one_cluster().is_ok());
        let mut search = directory.search(self.without());
        loop {
            let patience = self.queue.next_deadline()?;
            let attempt = async {
                let address = match target.take() {
                    // A node was told of by another one: nothing says yet that it is of this cluster.
                    Some(address) if directory.is_vetted(&address).await => address,
                    _ => search.master().await?,
                };
                let opened = Session::open(&directory, address.clone(), patience).await;
                if let Err(error) = &opened {
                    directory.refused(&address, error);
                    directory.set_master(None);
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

    /// What becomes of `attempt`, while appends come and are given up at their deadlines; `None` if none is left.
    async fn within_deadlines<T>(&mut self, attempt: impl Future<Output = T>) -> Option<T> {
        let mut attempt = std::pin::pin!(attempt);
        loop {
            let deadline = self.queue.next_deadline()?;
            tokio::select! {
                biased;
                done = &mut attempt => return Some(done),
                () = sleep_until(deadline) => {
                    self.give_up(|job, directory| directory.ending(Wanted::Master, job.since));
                }
                job = self.jobs.recv(), if !self.closed => match job {
                    Some(job) => self.queue.push(job),
                    None => self.closed = true,
                },
            }
        }
    }

    /// Refuses what waits and should not any longer.
    fn give_up(&mut self, why: impl Fn(&Job, &Directory) -> ClientError) {
        for job in self.queue.expired(Instant::now()) {
            let why = why(&job, &self.directory);
            job.finish(Err(why));
        }
    }

    /// Appends over `session` until it breaks, its node refuses, or there is nothing left to do.
    async fn drive(&mut self, mut session: Session) {
        let requests = session.requests();
        let mut connected = true;
        let mut leaving: Option<Leaving> = None;
        let mut ask = ASK;
        let mut other_master: Option<BoxFuture<'static, Option<String>>> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.take_jobs();
            if session.unanswered() == 0 && (self.closed && self.queue.is_empty() || leaving.is_some()) {
                break;
            }
            let worth = session.unanswered() < SMALL_REQUESTS || self.queue.is_full_request();
            let sends = connected && leaving.is_none() && !self.queue.is_empty() && worth;
            tokio::select! {
                biased;
                answer = session.answer() => match answer.and_then(|answer| session.settle(answer)) {
                    Ok(verdict) => self.heed(&session.address, verdict, &mut leaving),
                    Err(End::Broken(why)) => return self.lost(session, &why, None),
                    Err(End::Refused(error)) => return self.refused(session, &error),
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
                        return self.lost(session, &format!("{master} is master now"), Some(master));
                    }
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    session.expire(now);
                    self.give_up(|job, directory| match leaving {
                        Some(_) => directory.ending(Wanted::Master, job.since),
                        None => not_taken(&session.address, now - job.since),
                    });
                    if leaving.is_none() && self.directory.one_cluster().is_err() {
                        // The next search refuses what waits, or finds that they are of one cluster after all.
                        leaving = Some(Leaving { hint: None, until: now + self.directory.connect_timeout() });
                    }
                    if leaving.as_ref().is_some_and(|leaving| leaving.until <= now) {
                        break;
                    }
                    let silent = session.unanswered() > 0 && session.progress + SILENCE <= now;
                    if silent && other_master.is_none() {
                        let (directory, address) = (self.directory.clone(), session.address.clone());
                        let within = ask;
                        ask = (ask * 2).min(directory.settings.timeout).max(ASK);
                        other_master = Some(async move { directory.better_master(&address, within).await }.boxed());
                    } else if !silent {
                        ask = ASK;
                    }
                }
            }
        }
        session.abandon("its node is not the master any more");
        self.hint = leaving.and_then(|leaving| leaving.hint);
        self.directory.set_master(None);
    }

    /// Takes what waits, so that it can travel together.
    fn take_jobs(&mut self) {
        while let Ok(job) = self.jobs.try_recv() {
            self.queue.push(job);
        }
    }

    fn heed(&mut self, address: &str, verdict: Verdict, leaving: &mut Option<Leaving>) {
        let (jobs, error) = match verdict {
            Verdict::Settled => {
                (self.refusals, self.without) = (0, None);
                return;
            }
            Verdict::Again(jobs, error) => (jobs, error),
        };
        self.queue.put_back(jobs);
        if !error.is_passing() {
            return;
        }
        self.directory.refused(address, &error);
        if leaving.is_none() {
            tracing::debug!(%error, "append refused, looking for the master");
            self.refusals += 1;
            *leaving = Some(Leaving { hint: None, until: Instant::now() + self.directory.connect_timeout() });
        }
        if let (Some(leaving), ClientError::NotMaster { address, .. }) = (leaving, error)
            && !address.is_empty()
            // One that was sent here by a hint is not sent on and on: the second time, everyone is asked.
            && self.refusals <= 1
        {
            leaving.hint = Some(address);
        }
    }

    /// The node ended the session and took nothing of what it has not answered.
    fn refused(&mut self, session: Session, error: &ClientError) {
        tracing::debug!(address = session.address, %error, "append stream refused");
        self.refusals += 1;
        self.directory.refused(&session.address, error);
        // One that had too much to decode, or no room, is master still.
        let master = matches!(error, ClientError::TooLarge { .. } | ClientError::Busy { .. });
        let master = master.then(|| session.address.clone());
        self.queue.put_back(session.refused_all(error));
        self.give_up(|job, directory| directory.ending(Wanted::Master, job.since));
        self.directory.set_master(master);
    }

    /// The session broke: what it was sent may be in the log.
    fn lost(&mut self, session: Session, why: &str, master: Option<String>) {
        tracing::debug!(address = session.address, why, "append stream lost");
        if planted(Mutant::UnknownResent) {
            self.queue.put_back(session.refused_all(&ClientError::Unknown { reason: why.to_owned() }));
        } else {
            session.abandon(why);
        }
        self.directory.set_master(master);
    }
}

/// The end of an append that a master did not take for so long.
fn not_taken(address: &str, waited: Duration) -> ClientError {
    let waited = Span(waited);
    let message = format!(
        "{address} is master and has not taken this within {waited}: it has too much to do, or the connection is slow. \
         Append less at once, or give it longer"
    );
    ClientError::Busy { message }
}
