//! Whether a member is where the members look for it. From here that is only likely, so it is said and nothing is
//! refused for it: the nodes may have names for one another that nobody else knows.

use std::time::Duration;

use dledger::{Peer, Peers};

use crate::target::Target;

/// How long a member may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Warns if the master, which answered at its address in the list, does not answer at its address in the membership.
/// It leads all the same, because it is the one that calls; a new member could not reach it once it no longer leads.
pub(crate) async fn tell_of_master(target: &Target) {
    let Ok(node) = target.node(None).await else { return };
    let Ok(status) = node.status().await else { return };
    if let Some(master) = status.master.filter(|_| status.role.is_master()) {
        tell(target, Peer { id: master.id, address: master.address }).await;
    }
}

/// Warns if no node of that name answers at that address.
pub(crate) async fn tell(target: &Target, member: Peer) {
    let Peer { id, address } = member.clone();
    let (Ok(peers), Ok(group)) = (Peers::new(vec![member]), target.group()) else { return };
    let answer = target.client_of(group, &peers, ANSWER).status(&id).await;
    if !answer.is_ok_and(|status| status.node == id) {
        eprintln!(
            "note: {id} does not answer at {address}, where the members look for it (seen from here). If they cannot \
             reach it there either, start it with --advertise and the address it has, and note that: dledger members \
             move {id} HOST:PORT"
        );
    }
}
