//! Whether all nodes that answered are of one cluster. What is shown or done on both of two is of use in neither.

use std::collections::{BTreeMap, BTreeSet};

use dledger::ClientError;

use crate::target::roster::Answer;

/// A node that is a member of no cluster yet is of none.
///
/// # Errors
/// [`ClientError::TwoClusters`], with the nodes by name and address.
pub(crate) fn check_one(answers: &[Answer]) -> Result<(), ClientError> {
    let told = answers.iter().filter_map(|answer| Some((answer, answer.status.as_ref().ok()?)));
    let told: Vec<_> = told.filter(|(_, status)| !status.members.is_empty()).collect();
    let names: BTreeSet<_> = told.iter().map(|(_, status)| &status.cluster).collect();
    // One of an older version says none.
    let incarnations: BTreeSet<_> = told.iter().filter_map(|(_, status)| status.cluster_incarnation).collect();
    if names.len() <= 1 && incarnations.len() <= 1 {
        return Ok(());
    }
    let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (answer, status) in &told {
        let of = status.cluster_incarnation.map(|of| format!(" of incarnation {of}")).unwrap_or_default();
        let node = format!("{} at {}", answer.node(), answer.peer.address);
        clusters.entry(format!("cluster {}{of}", status.cluster)).or_default().push(node);
    }
    Err(ClientError::TwoClusters { clusters: clusters.into_iter().collect() })
}
