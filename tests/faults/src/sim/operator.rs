//! Who looks after a cluster in which things go wrong: replaces lost disks, and has others lead now and then.

use std::time::Duration;

use dledger::sim::{self, Rng, SimCluster};
use dledger::{Ledger, NodeId};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) replaced: u64,
    pub(super) transferred: u64,
}

/// Loses a disk at times, one after the other, and replaces each; until `over`, and until nothing is left to replace.
pub(super) async fn run(cluster: SimCluster, mut rng: Rng, over: impl Fn() -> bool) -> Done {
    let mut done = Done::default();
    let mut lost: Option<usize> = None;
    loop {
        sim::pass(Duration::from_millis(100 + rng.below(1500))).await;
        match lost {
            Some(i) if replace(&cluster, i).await => {
                done.replaced += 1;
                lost = None;
            }
            Some(_) => {}
            None if over() && done.replaced > 0 => return done,
            None if done.replaced == 0 || rng.chance(400) => {
                let i = rng.below(cluster.size() as u64) as usize;
                cluster.wipe(i);
                lost = Some(i);
            }
            None => done.transferred += u64::from(transfer(&cluster, &mut rng).await),
        }
    }
}

fn id(i: usize) -> NodeId {
    NodeId::new(i as u64)
}

fn master(cluster: &SimCluster) -> Option<Ledger> {
    cluster.master().and_then(|master| cluster.ledger(master))
}

/// Whether the node has taken its own place again, with its new disk.
async fn replace(cluster: &SimCluster, i: usize) -> bool {
    let Some(master) = master(cluster) else { return false };
    // Whoever starts nodes has not got to it yet.
    if cluster.ledger(i).is_none() && cluster.start(i).await.is_err() {
        return false;
    }
    let (id, address) = (id(i), cluster.address(i));
    let replaced = sim::within(2 * ATTEMPT, master.replace_member(&id, &address, ATTEMPT)).await;
    cluster.note(&format!("replace {i} {replaced:?}"));
    matches!(replaced, Some(Ok(_)))
}

async fn transfer(cluster: &SimCluster, rng: &mut Rng) -> bool {
    let Some(master) = master(cluster) else { return false };
    let to = rng.below(cluster.size() as u64) as usize;
    let to = id(to);
    let transferred = sim::within(2 * ATTEMPT, master.transfer_leadership(&to)).await;
    cluster.note(&format!("transfer {to} {transferred:?}"));
    matches!(transferred, Some(Ok(())))
}
