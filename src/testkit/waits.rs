//! What a test waits for, and how a wait fails.

use std::future::{Future, pending};

use futures::FutureExt;
use futures::future::select_all;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::error::KitError;
use crate::node::Ledger;
use crate::types::{NodeId, Role};

impl Cluster {
    /// Waits for a master of the first ledger, and returns its number: a node that a majority of the voters, itself
    /// included, follow and can hear. A master that is cut off, and does not know yet that it is one no more, does not
    /// count.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn wait_for_master(&self) -> Result<usize, KitError> {
        self.wait_for_master_of(self.group().as_str()).await
    }

    /// As [`Cluster::wait_for_master`], of the ledger of `group`.
    ///
    /// # Errors
    /// If there is none in time, or a node that runs does not host the ledger.
    pub async fn wait_for_master_of(&self, group: &str) -> Result<usize, KitError> {
        let ledgers = self.hosting(group)?;
        self.within(format!("a master of {group}"), self.master(&ledgers)).await
    }

    /// A node that runs and is not the master of the first ledger, once there is a master.
    ///
    /// # Errors
    /// If there is no master in time, or no other node runs.
    pub async fn wait_for_slave(&self) -> Result<usize, KitError> {
        let master = self.wait_for_master().await?;
        let other = self.running().into_iter().find(|n| *n != master);
        other.ok_or(KitError::Down { node: if master == 0 { 1 } else { 0 } })
    }

    /// Waits until every node that runs knows of `committed` committed records of the first ledger: until
    /// [`Status::committed`](crate::Status::committed) is at least that.
    ///
    /// # Errors
    /// If that is not so in time, or a node that runs could not open the ledger.
    pub async fn wait_committed(&self, committed: u64) -> Result<(), KitError> {
        let running = self.running();
        self.wait_committed_on(&running, committed).await
    }

    /// As [`Cluster::wait_committed`], on these nodes alone.
    ///
    /// # Errors
    /// As there, or if one of them does not run.
    pub async fn wait_committed_on(&self, nodes: &[usize], committed: u64) -> Result<(), KitError> {
        let ledgers = nodes.iter().map(|n| Ok((*n, self.ledger(*n)?))).collect::<Result<Vec<_>, _>>()?;
        self.committed(ledgers, committed).await
    }

    /// As [`Cluster::wait_committed`], of the ledger of `group`.
    ///
    /// # Errors
    /// If that is not so in time, or a node that runs does not host the ledger.
    pub async fn wait_committed_of(&self, group: &str, committed: u64) -> Result<(), KitError> {
        let ledgers = self.hosting(group)?;
        self.committed(ledgers, committed).await
    }

    async fn committed(&self, ledgers: Vec<(usize, Ledger)>, committed: u64) -> Result<(), KitError> {
        let all = async {
            for (_, ledger) in &ledgers {
                let mut point = ledger.replica().log.progress().watch_committed();
                if point.wait_for(|point| point.index >= committed).await.is_err() {
                    // It will never come: the ledger is gone.
                    pending::<()>().await;
                }
            }
        };
        let of = ledgers.first().map(|(_, ledger)| format!(" of {}", ledger.group())).unwrap_or_default();
        self.within(format!("the commit of {committed} records{of}"), all).await
    }

    /// The nodes that run and what they have of the ledger of `group`.
    fn hosting(&self, group: &str) -> Result<Vec<(usize, Ledger)>, KitError> {
        self.running().into_iter().map(|n| Ok((n, self.ledger_of(n, group)?))).collect()
    }

    async fn master(&self, ledgers: &[(usize, Ledger)]) -> usize {
        let mut roles: Vec<_> = ledgers.iter().map(|(_, ledger)| ledger.role()).collect();
        let mut views: Vec<_> = ledgers.iter().map(|(_, ledger)| ledger.replica().view.clone()).collect();
        let mut partition = self.partition.watch();
        loop {
            // From here on every change counts.
            roles.iter_mut().for_each(watch::Receiver::mark_unchanged);
            views.iter_mut().for_each(watch::Receiver::mark_unchanged);
            partition.mark_unchanged();
            if let Some((n, _)) = ledgers.iter().find(|(n, ledger)| self.is_followed(*n, ledger, ledgers)) {
                return *n;
            }
            let changes = roles.iter_mut().map(|role| changed(role).boxed());
            let changes = changes.chain(views.iter_mut().map(|view| changed(view).boxed()));
            select_all(changes.chain([changed(&mut partition).boxed()])).await;
        }
    }

    /// Whether node `n` is the master, and followed by a majority of the voters that can hear it.
    fn is_followed(&self, n: usize, ledger: &Ledger, ledgers: &[(usize, Ledger)]) -> bool {
        let status = ledger.status();
        let Role::Master { term: led } = status.role else { return false };
        let follows = |id: &NodeId| {
            let other = ledgers.iter().find(|(other, _)| NodeId::new(*other as u64) == *id);
            other.is_some_and(|(other, ledger)| {
                let role = ledger.role();
                let role = role.borrow();
                let same = matches!(&*role, Role::Slave { term, master } if *term == led && master.id == status.node);
                *other == n || (same && self.hears(n, *other))
            })
        };
        let voters = status.members.iter().filter(|member| member.voter);
        let (all, following) = voters
            .fold((0, 0), |(all, following), voter| (all + 1, following + usize::from(follows(&voter.member.id))));
        following > all / 2
    }

    fn hears(&self, one: usize, other: usize) -> bool {
        let (Ok(one), Ok(other)) = (self.address(one), self.address(other)) else { return false };
        !self.partition.cuts(one, other)
    }

    async fn within<T>(&self, what: String, wait: impl Future<Output = T>) -> Result<T, KitError> {
        let waited = self.settings().patience;
        let late = |_| KitError::Late { what, waited, nodes: self.standing() };
        tokio::time::timeout(waited, wait).await.map_err(late)
    }

    /// How each node stands, in words.
    fn standing(&self) -> String {
        let of = |n: usize| match self.node(n) {
            Err(_) => format!("n{n} is down"),
            Ok(node) => {
                let statuses = node.statuses();
                let each = statuses.iter().map(|status| {
                    let (group, role, term, committed) =
                        (&status.group, status.role.name(), status.term, status.committed);
                    let waiting = status.waiting.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
                    format!("{group} {role} in term {term}, {committed} committed{waiting}")
                });
                format!("n{n}: {}", each.collect::<Vec<_>>().join(", "))
            }
        };
        (0..self.peers().iter().count()).map(of).collect::<Vec<_>>().join("; ")
    }
}

/// Never ends if the sender is gone.
async fn changed<T>(told: &mut watch::Receiver<T>) {
    if told.changed().await.is_err() {
        pending::<()>().await;
    }
}
