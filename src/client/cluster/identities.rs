//! Of which clusters the nodes are that a client has heard of, and which of them is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::client::error::ClientError;
use crate::types::Incarnation;
use crate::wire::pb;

/// What nodes said of their cluster.
#[derive(Default)]
pub(crate) struct Identities {
    /// Of which cluster the node at each address last said to be.
    noted: BTreeMap<String, ClusterIdentity>,
    /// The one that this client has used: what its nodes said is kept, also while they are silent.
    home: Option<ClusterIdentity>,
}

/// A cluster as its nodes name it: by its name and, if it has one, its incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClusterIdentity {
    name: String,
    incarnation: Option<Incarnation>,
}

impl Identities {
    /// Takes down of which cluster the node at `address` is, if it is a member of one.
    pub(crate) fn note(&mut self, address: &str, status: &pb::StatusResponse) {
        if status.members.is_empty() {
            self.noted.remove(address);
            return;
        }
        let incarnation = Incarnation::from_slice(&status.cluster_incarnation);
        self.noted.insert(address.to_owned(), ClusterIdentity { name: status.cluster.clone(), incarnation });
    }

    pub(crate) fn knows(&self, address: &str) -> bool {
        self.noted.contains_key(address)
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.noted.keys().cloned().collect()
    }

    /// The client uses the node at `address`: its cluster is the client's own, from the first one on.
    pub(crate) fn adopt(&mut self, address: &str) {
        let Some(cluster) = self.noted.get(address) else { return };
        // One that had no incarnation yet may have one by now.
        if self.home.as_ref().is_none_or(|home| home.incarnation.is_none() && home.name == cluster.name) {
            self.home = Some(cluster.clone());
        }
    }

    /// Whether nothing says that a master at `address` is of another cluster than the client's own.
    pub(crate) fn may_be_used(&self, address: &str) -> bool {
        self.home.is_none() || self.noted.contains_key(address)
    }

    pub(crate) fn has_home(&self) -> bool {
        self.home.is_some()
    }

    /// Forgets what the nodes at these addresses said, which are not there any more. Not where they were of the
    /// client's own cluster: another one is not to pass for it meanwhile.
    pub(crate) fn forget(&mut self, gone: &[String]) {
        let Self { noted, home } = self;
        noted.retain(|address, cluster| {
            !gone.contains(address) || home.as_ref().is_some_and(|home| !home.conflicts_with(cluster))
        });
    }

    /// Whether all nodes that were heard of are of one cluster.
    ///
    /// # Errors
    /// [`ClientError::TwoClusters`].
    pub(crate) fn check_one(&self) -> Result<(), ClientError> {
        let names: BTreeSet<_> = self.noted.values().map(|cluster| &cluster.name).collect();
        let incarnations: BTreeSet<_> = self.noted.values().filter_map(|cluster| cluster.incarnation).collect();
        if names.len() <= 1 && incarnations.len() <= 1 {
            return Ok(());
        }
        let mut clusters: BTreeMap<&ClusterIdentity, Vec<String>> = BTreeMap::new();
        for (address, cluster) in &self.noted {
            clusters.entry(cluster).or_default().push(address.clone());
        }
        let clusters = clusters.into_iter().map(|(cluster, nodes)| (cluster.to_string(), nodes)).collect();
        Err(ClientError::TwoClusters { clusters })
    }
}

impl ClusterIdentity {
    /// Whether it cannot be the same as `other`.
    fn conflicts_with(&self, other: &Self) -> bool {
        let both = self.incarnation.zip(other.incarnation);
        self.name != other.name || both.is_some_and(|(one, other)| one != other)
    }
}

impl fmt::Display for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.incarnation {
            Some(incarnation) => write!(f, "cluster {} of incarnation {incarnation}", self.name),
            None => write!(f, "cluster {}", self.name),
        }
    }
}
