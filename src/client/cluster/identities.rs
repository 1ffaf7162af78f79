//! The cluster of each node that has answered a client, and the client's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::client::error::ClientError;
use crate::types::Incarnation;
use crate::wire::pb;

/// The clusters that nodes have named.
#[derive(Default)]
pub(crate) struct Identities {
    /// By address: the cluster that the node there last named.
    noted: BTreeMap<String, ClusterIdentity>,
    /// The cluster that this client has used. What its nodes said is kept while they are silent.
    home: Option<ClusterIdentity>,
}

/// A cluster as its nodes name it: by its name and, if it has one, its incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClusterIdentity {
    name: String,
    incarnation: Option<Incarnation>,
}

impl Identities {
    /// Notes the cluster of the node at `address`, if the node is a member of one.
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

    /// The client uses the node at `address`. The cluster of the first node that it uses becomes its own.
    pub(crate) fn adopt(&mut self, address: &str) {
        let Some(cluster) = self.noted.get(address) else { return };
        // A cluster that had no incarnation yet may have one by now.
        if self.home.as_ref().is_none_or(|home| home.incarnation.is_none() && home.name == cluster.name) {
            self.home = Some(cluster.clone());
        }
    }

    /// Whether the client may use a master at `address`: no node was used yet, or that one has named its cluster.
    pub(crate) fn may_be_used(&self, address: &str) -> bool {
        self.home.is_none() || self.noted.contains_key(address)
    }

    pub(crate) fn has_home(&self) -> bool {
        self.home.is_some()
    }

    /// Forgets the clusters of the nodes at these addresses, which are gone. Keeps those of the client's own cluster,
    /// so that another cluster cannot pass for it meanwhile.
    pub(crate) fn forget(&mut self, gone: &[String]) {
        let Self { noted, home } = self;
        noted.retain(|address, cluster| {
            !gone.contains(address) || home.as_ref().is_some_and(|home| !home.conflicts_with(cluster))
        });
    }

    /// Checks that all nodes which have said their cluster are of the same one.
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
    /// Whether it cannot be the same cluster as `other`.
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
