//! The ledgers of a node as they come and go.

use std::path::PathBuf;

use super::ledger::Ledger;
use super::node::{Node, NodeInner};
use super::start::start_ledger;
use crate::error::{CreateLedgerError, LedgerError, RemoveLedgerError, StartError};
use crate::log::directory::{self, Doomed, Owner};
use crate::raft::TokioRuntime;
use crate::types::{Group, LedgerFiles};

impl Node {
    /// Hosts one more ledger, with the node's configuration: opens its directory, or makes it. A new ledger is formed,
    /// and has a master, once all nodes of [`Config::peers`](crate::Config::peers) host it.
    ///
    /// Also tries again to open a ledger that could not be opened when the node started: after a repair of its
    /// directory. If it still cannot be opened it stays closed, for the new reason. Where only another process has its
    /// directory open, the node opens it by itself as soon as that process frees it.
    ///
    /// The node does not remember ledgers made at run time: after a restart the program makes them again, or names them
    /// in [`Config::groups`](crate::Config::groups). Dropping the future does not take the call back.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The node hosts the ledger already, has been shut down, or the ledger cannot be started.
    pub async fn create_ledger(&self, group: Group) -> Result<Ledger, CreateLedgerError> {
        let node = self.clone();
        // On a task of its own: if the caller drops the future, a ledger that is half started would be nobody's.
        let created = tokio::spawn(async move { node.create(group).await }).await;
        match created {
            Ok(created) => created,
            Err(ended) => Err(CreateLedgerError::Ended { reason: ended.to_string() }),
        }
    }

    async fn create(self, group: Group) -> Result<Ledger, CreateLedgerError> {
        let stopped = self.inner.changing.lock().await;
        if *stopped {
            return Err(CreateLedgerError::Stopped { group });
        }
        if self.ledger(group.as_str()).is_ok() {
            return Err(CreateLedgerError::Hosted { group });
        }
        let unopened = self.inner.unopened.reason(group.as_str()).is_some();
        let started = self.start(&group).await;
        if let (true, Err(error)) = (unopened, &started) {
            self.keep_closed(&group, error);
        }
        Ok(started?)
    }

    /// Opens a ledger whose directory another process had open, if that is free now. If the ledger still cannot be
    /// opened it stays closed, for the new reason. Returns false if the node has stopped.
    pub(super) async fn open_if_free(&self, group: &Group) -> bool {
        let stopped = self.inner.changing.lock().await;
        if *stopped || !self.inner.unopened.is_in_use(group) {
            return !*stopped;
        }
        // Looks first, because an attempt to open the ledger waits, and holds up other changes.
        let (disk, dir) = (self.inner.env.disk.clone(), self.directory(group));
        let free = tokio::task::spawn_blocking(move || directory::is_free(&*disk, &dir)).await;
        if !free.is_ok_and(|free| free.is_ok()) {
            return true;
        }
        match self.start(group).await {
            Ok(_) => tracing::warn!(%group, "the directory is free: the ledger is open now"),
            Err(error) => {
                tracing::error!(%group, %error, "the directory is free, but the ledger cannot be opened");
                self.keep_closed(group, &error);
            }
        }
        true
    }

    pub(super) async fn start(&self, group: &Group) -> Result<Ledger, StartError> {
        let NodeInner { config, advertised, env, router, .. } = &*self.inner;
        let ledger = start_ledger::<TokioRuntime>(env, config, group, advertised, router).await?;
        self.inner.ledgers.write().push(ledger.clone());
        self.inner.unopened.remove(group.as_str());
        self.tell_changed();
        Ok(ledger)
    }

    /// Stops hosting a ledger: takes it off the wire, ends its Raft, makes it durable and closes it. Its handles then
    /// say [`Role::Stopped`](crate::Role::Stopped); appends under way end with an unknown outcome; records that were
    /// read stay readable. `files` says what becomes of its directory.
    ///
    /// This concerns this node only. To the other members the node is down: a quorum of them goes on. With its files
    /// kept, the ledger can be created again and takes up where it was. With its files deleted, it comes back with
    /// another disk, and the other members refuse it as they refuse every wiped disk: its place in the membership must
    /// be given up first. To be rid of a ledger altogether, remove it on all nodes. A ledger that could not be opened
    /// is removed like any other.
    ///
    /// Dropping the future does not take the call back. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The node does not host the ledger, or has been shut down: nothing was done. Or the ledger could not be closed
    /// cleanly, or its files not be deleted: the node no longer hosts it then. A directory that does not belong to this
    /// ledger of this node is not deleted ([`RemoveLedgerError::NotDeleted`]).
    pub async fn remove_ledger(&self, group: &str, files: LedgerFiles) -> Result<(), RemoveLedgerError> {
        let (node, group) = (self.clone(), group.to_owned());
        let removed = tokio::spawn(async move { node.remove(&group, files).await }).await;
        removed.unwrap_or_else(|ended| Err(RemoveLedgerError::Ended { reason: ended.to_string() }))
    }

    async fn remove(self, group: &str, files: LedgerFiles) -> Result<(), RemoveLedgerError> {
        let stopped = self.inner.changing.lock().await;
        if *stopped {
            return Err(RemoveLedgerError::Stopped { group: group.to_owned() });
        }
        let (group, doomed) = match self.inner.unopened.group(group) {
            // Nothing of the ledger runs, and this process does not have its directory open.
            Some(group) => {
                // Before it leaves `unopened`: if its files must not be touched, it stays there.
                let doomed = self.doom(&group, files).await?;
                self.inner.unopened.remove(group.as_str());
                self.inner.router.remove(&group);
                self.tell_changed();
                (group, doomed)
            }
            None => {
                let group = self.take_down(group).await?;
                let doomed = self.doom(&group, files).await?;
                (group, doomed)
            }
        };
        tracing::info!(%group, deleted = doomed.is_some(), "no longer hosted");
        let Some(doomed) = doomed else { return Ok(()) };
        let (disk, path) = (self.inner.env.disk.clone(), self.directory(&group));
        let deleted = tokio::task::spawn_blocking(move || doomed.delete(&*disk)).await;
        let deleted = deleted.unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
        deleted.map_err(|source| RemoveLedgerError::Delete { group, path, source })
    }

    /// The directory of `group`, if the caller wants it deleted and there is one.
    async fn doom(&self, group: &Group, files: LedgerFiles) -> Result<Option<Doomed>, RemoveLedgerError> {
        if files == LedgerFiles::Keep {
            return Ok(None);
        }
        let (node, of) = (self.clone(), group.clone());
        let doomed = tokio::task::spawn_blocking(move || {
            let NodeInner { config, env, .. } = &*node.inner;
            let owner = Owner { cluster: &config.cluster, group: &of, node: &config.id };
            directory::doom(&*env.disk, &node.directory(&of), owner)
        });
        let doomed = doomed.await.map_err(|ended| RemoveLedgerError::Ended { reason: ended.to_string() })?;
        doomed.map_err(|error| RemoveLedgerError::NotDeleted { group: group.clone(), source: error.into() })
    }

    fn directory(&self, group: &Group) -> PathBuf {
        self.inner.config.data_dir.join(group.as_str())
    }

    /// Ends an open ledger, and frees its directory.
    async fn take_down(&self, group: &str) -> Result<Group, RemoveLedgerError> {
        let ledger = match self.ledger(group) {
            Ok(ledger) => ledger,
            Err(LedgerError::Unknown(unknown)) => return Err(unknown.into()),
            Err(LedgerError::Closed { group, reason }) => {
                return Err(RemoveLedgerError::Ended { reason: format!("{group} came back closed: {reason}") });
            }
        };
        let group = ledger.group().clone();
        // While its peers still hear it.
        ledger.step_down().await;
        self.inner.router.remove(&group);
        self.inner.ledgers.write().retain(|hosted| *hosted.group() != group);
        self.tell_changed();
        ledger.replica().raft.shutdown().await;
        ledger.close().await.map_err(|source| RemoveLedgerError::Close { group: group.clone(), source })?;
        Ok(group)
    }
}
