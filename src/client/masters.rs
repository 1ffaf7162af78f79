//! Who the master is, as that changes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::client::backoff::{pause, paused};
use crate::client::cluster::search::Search;
use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::types::{Master, Member, Role, Status};

/// How often the stream asks the known master whether it still is master.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Who the master is, as a client learns it: made by [`Client::masters`](crate::Client::masters). `None`: nobody is, as
/// far as it knows. After an error it ends.
pub struct Masters(BoxStream<'static, Result<Option<Master>, ClientError>>);

impl Masters {
    /// Asks a master that is known every `poll_interval` whether it still is.
    pub(super) fn new(topology: Arc<Topology>, timeout: Duration, poll_interval: Duration) -> Self {
        let moved = topology.moved();
        let watch = MasterWatch { topology, moved, timeout, poll_interval, known: None, newest: 0, untold: true };
        let next = |mut watch: MasterWatch| async move { Ok(Some((watch.next().await?, watch))) };
        Self(stream::try_unfold(watch, next).boxed())
    }
}

impl fmt::Debug for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masters")
    }
}

impl Stream for Masters {
    type Item = Result<Option<Master>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

struct MasterWatch {
    topology: Arc<Topology>,
    /// Notified when the client's other calls find out that another node is master, or none.
    moved: watch::Receiver<()>,
    timeout: Duration,
    poll_interval: Duration,
    /// The master that the stream gave last.
    known: Option<KnownMaster>,
    /// The newest term of a master that the stream gave.
    newest: u64,
    /// Whether the stream has yet to say that there is no master.
    untold: bool,
}

#[derive(Clone)]
struct KnownMaster {
    master: Master,
    /// Where it answered, and when it last did.
    address: String,
    asked: Instant,
}

impl MasterWatch {
    /// The next change.
    async fn next(&mut self) -> Result<Option<Master>, ClientError> {
        self.topology.in_runtime()?;
        while let Some(KnownMaster { master, address, asked }) = self.known.clone() {
            // `changed` cannot fail: the topology lives as long as this.
            tokio::select! {
                () = sleep_until(asked + self.poll_interval) => {}
                _ = self.moved.changed() => {}
            }
            let now = self.ask_master(&address).await?;
            if now.as_ref() != Some(&master) {
                return Ok(self.keep(now, address));
            }
            self.keep(now, address);
        }
        match self.find().await? {
            Some((master, address)) => Ok(self.keep(Some(master), address)),
            None => Ok(self.keep(None, String::new())),
        }
    }

    /// Keeps what is given.
    fn keep(&mut self, master: Option<Master>, address: String) -> Option<Master> {
        self.newest = master.as_ref().map_or(self.newest, |master| master.term);
        self.untold = master.is_some();
        self.known = master.clone().map(|master| KnownMaster { master, address, asked: Instant::now() });
        master
    }

    /// A master that answers, and its address. `None` if there has been none for the client's timeout and the stream
    /// has yet to say so.
    async fn find(&mut self) -> Result<Option<(Master, String)>, ClientError> {
        let (topology, since) = (self.topology.clone(), Instant::now());
        let until = self.untold.then(|| since + self.timeout);
        loop {
            let mut search = Search::new(&topology, since);
            let found = match until {
                None => search.master().await,
                Some(until) => match timeout_at(until, search.master()).await {
                    Ok(found) => found,
                    Err(_) => return Ok(None),
                },
            };
            // This search itself has caused the notification.
            self.moved.mark_unchanged();
            match found {
                Ok(address) => {
                    if let Some(master) = self.ask_master(&address).await? {
                        return Ok(Some((master, address)));
                    }
                }
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
            // The node is master no more, or master of an earlier term that has not heard of the next one.
            match until {
                Some(until) if !paused(since, until).await => return Ok(None),
                Some(_) => {}
                None => sleep(pause(since.elapsed())).await,
            }
        }
    }

    /// The node at `address` as master, if it is one and the stream has given none of a later term.
    async fn ask_master(&self, address: &str) -> Result<Option<Master>, ClientError> {
        let (_, answer) = self.topology.probe(address.to_owned(), self.topology.connect_timeout()).await;
        self.topology.recheck_one_cluster().await?;
        // A node that refuses for good is no master. If all do, the search says so.
        let Ok(answer) = answer else { return Ok(None) };
        let status = Status::try_from(answer);
        let status = status.map_err(|what| ClientError::Malformed { address: address.to_owned(), what })?;
        let Role::Master { term } = status.role else { return Ok(None) };
        let unnamed = || Member { id: status.node, address: address.to_owned(), incarnation: Default::default() };
        let member = status.master.unwrap_or_else(unnamed);
        Ok((term >= self.newest).then_some(Master { term, member }))
    }
}
