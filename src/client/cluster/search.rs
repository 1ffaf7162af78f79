//! The search for the master.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::backoff::pause;
use crate::client::cluster::topology::{BUSY_PAUSE, HEARING_TIME, MASTER, Probed, Topology};
use crate::client::error::ClientError;
use crate::client::error::timed_out::Wanted;

/// All nodes are asked at once, and each again soon after it answered, until one says that it is master.
pub(crate) struct Search<'a> {
    topology: &'a Topology,
    started: Instant,
    asked: FuturesUnordered<BoxFuture<'a, ProbeReply>>,
    /// The nodes that are asked on and on.
    probed: BTreeSet<String>,
    /// What each node failed with; `None`: it said what it is.
    replies: BTreeMap<String, Option<ClientError>>,
    /// The master, and how long to wait at most for what the others say of their cluster.
    found: Option<(String, Instant)>,
    /// Since when there has been no master: nodes are asked the less often.
    since: Instant,
    /// Who was last said to be master, and in which term: it is asked at once, whatever it said before.
    followed: Option<(u64, String)>,
}

/// A question on its way.
struct ProbeReply {
    probed: Probed,
    /// Whether the node is asked on and on by it.
    again: bool,
}

impl<'a> Search<'a> {
    /// Asks all nodes. There has been no master since `since`.
    pub(crate) fn new(topology: &'a Topology, since: Instant) -> Self {
        let mut search = Self {
            topology,
            started: Instant::now(),
            asked: FuturesUnordered::new(),
            probed: BTreeSet::new(),
            replies: BTreeMap::new(),
            found: None,
            since,
            followed: None,
        };
        for address in topology.by_preference() {
            search.probe_on(address);
        }
        search
    }

    /// Asks the node at `address` from now on, unless it does. That the client has heard of a node, by another search
    /// or an answer of before, says nothing of that.
    fn probe_on(&mut self, address: String) -> bool {
        let new = self.probed.insert(address.clone());
        if new {
            self.push(address, Duration::ZERO, true);
        }
        new
    }

    /// How far away a node is, is not known: it has all the time that the client has. One that never answers costs
    /// nothing where another one does.
    fn push(&mut self, address: String, after: Duration, again: bool) {
        let topology = self.topology;
        let asked = async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            ProbeReply { probed: topology.probe(address, topology.settings.timeout).await, again }
        };
        self.asked.push(asked.boxed());
    }

    /// Asks the node at `address`, which was said to be master in `term`, without waiting for its turn.
    fn follow(&mut self, term: u64, address: &str) {
        let hint = Some((term, address.to_owned()));
        if address.is_empty() || self.followed == hint {
            return;
        }
        self.followed = hint;
        self.topology.learn(address);
        if !self.probe_on(address.to_owned()) && self.replies.contains_key(address) {
            self.push(address.to_owned(), Duration::ZERO, false);
        }
    }

    /// The master's address, as soon as there is one and the others had their say: a client that was given nodes of two
    /// clusters is to append to neither, whichever answers first. May be dropped and called again without losing
    /// anything.
    ///
    /// # Errors
    /// Every node refuses for a reason that does not pass, like a group that none of them hosts; or
    /// [`ClientError::TwoClusters`].
    pub(crate) async fn master(&mut self) -> Result<String, ClientError> {
        loop {
            // It may have been forgotten since, as one of another cluster.
            self.found.take_if(|(address, _)| !self.topology.known().identities.may_be_used(address));
            // What was said before may not hold any more: where it does not fit together, all are asked again.
            let conflicting = self.topology.check_one_cluster().is_err();
            let unheard = self.topology.has_unheard(&self.replies, conflicting);
            let hear_until = match (conflicting, &self.found) {
                (true, _) if !unheard || self.started.elapsed() >= HEARING_TIME => {
                    self.topology.recheck_one_cluster().await?;
                    continue;
                }
                (true, _) => Some(self.started + HEARING_TIME),
                (false, Some((_, hear_until))) if !unheard || *hear_until <= Instant::now() => {
                    return self.take_found();
                }
                (false, Some((_, hear_until))) => Some(*hear_until),
                (false, None) => None,
            };
            let next = match hear_until {
                None => self.asked.next().await,
                Some(hear_until) => match timeout_at(hear_until, self.asked.next()).await {
                    Ok(next) => next,
                    Err(_) => continue,
                },
            };
            let Some(ProbeReply { probed: (address, answer), again }) = next else { break };
            if let Ok(status) = &answer {
                for member in self.topology.learn_members(status) {
                    self.probe_on(member);
                }
                if status.role == MASTER {
                    let hear_until = Instant::now() + self.started.elapsed().max(HEARING_TIME);
                    self.found.get_or_insert((address.clone(), hear_until));
                } else if status.master_address != address {
                    self.follow(status.term, &status.master_address);
                }
            }
            let failed = answer.err();
            if again {
                let pause = pause(self.since.elapsed());
                let busy = matches!(failed, Some(ClientError::Busy { .. }));
                self.push(address.clone(), if busy { pause.max(BUSY_PAUSE) } else { pause }, true);
            }
            self.replies.insert(address, failed);
            let hopeless = |said: &Option<ClientError>| said.clone().filter(|error| !error.is_transient());
            if self.replies.len() == self.probed.len()
                && let Some(errors) = self.replies.values().map(hopeless).collect::<Option<Vec<_>>>()
                && let Some(error) = errors.into_iter().next()
            {
                return Err(error);
            }
        }
        Err(self.nobody())
    }

    /// Takes the master that was found, though not all had their say: for reads.
    pub(crate) fn take_unheard(&mut self) {
        // Whoever reads looks for two clusters too.
        let _ = self.take_found();
    }

    fn take_found(&mut self) -> Result<String, ClientError> {
        self.topology.check_one_cluster()?;
        let Some((address, _)) = self.found.take() else { return Err(self.nobody()) };
        self.topology.set_master(Some(address.clone()));
        self.topology.known().identities.adopt(&address);
        Ok(address)
    }

    fn nobody(&self) -> ClientError {
        self.topology.timed_out(Wanted::Master, self.started)
    }
}
