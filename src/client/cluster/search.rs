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

/// Asks all nodes at once, and each again soon after its answer, until one says that it is master.
pub(crate) struct Search<'a> {
    topology: &'a Topology,
    started: Instant,
    asked: FuturesUnordered<BoxFuture<'a, ProbeReply>>,
    /// The nodes that the search asks again after each answer.
    probed: BTreeSet<String>,
    /// The error of each node that has replied; `None`: it told its status.
    replies: BTreeMap<String, Option<ClientError>>,
    /// The master, and until when to wait for the other nodes to name their cluster.
    found: Option<(String, Instant)>,
    /// Since when there has been no master. The longer, the longer the pauses.
    since: Instant,
    /// The node that another one last named as master, and its term: the search asks it at once, whatever it said
    /// before.
    followed: Option<(u64, String)>,
}

/// A node's reply to a question.
struct ProbeReply {
    probed: Probed,
    /// Whether the search asks the node again.
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

    /// Asks the node at `address` from now on; `false` if this search already does. What the client has heard of the
    /// node by other searches does not count.
    fn probe_on(&mut self, address: String) -> bool {
        let new = self.probed.insert(address.clone());
        if new {
            self.push(address, Duration::ZERO, true);
        }
        new
    }

    /// Asks the node at `address` after a pause. The node has all of the client's timeout to answer, because it may be
    /// far away; a silent node holds nobody up where another one answers.
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

    /// Asks the node at `address`, which another node named as master of `term`, without a pause.
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

    /// The master's address, once there is a master and the other nodes had time to name their cluster: a client with
    /// nodes of two clusters must append to neither, whichever answers first. Cancel safe: drop it and call it again.
    ///
    /// # Errors
    /// Every node refuses for a reason that does not pass, like a group that none of them hosts; or
    /// [`ClientError::TwoClusters`].
    pub(crate) async fn master(&mut self) -> Result<String, ClientError> {
        loop {
            // The client may have forgotten the master's node since, as one of another cluster.
            self.found.take_if(|(address, _)| !self.topology.known().identities.may_be_used(address));
            // Where nodes have named two clusters, all are asked again, because an earlier reply may no longer hold.
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

    /// Takes the master that was found without waiting for the other nodes any longer: for reads.
    pub(crate) fn take_unheard(&mut self) {
        // The caller checks for two clusters too.
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
