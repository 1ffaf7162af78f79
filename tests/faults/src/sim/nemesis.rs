//! What goes wrong.

use std::time::Duration;

use dledger::Role;
use dledger::sim::{self, Rng, SimCluster};

use super::chaos::Chaos;

/// Does `plan.faults` harmful things, one after the other, and leaves the mess behind.
pub(super) async fn run(cluster: SimCluster, mut rng: Rng, plan: Chaos) {
    for _ in 0..plan.faults {
        sim::pass(Duration::from_millis(50 + rng.below(900))).await;
        for i in 0..cluster.size() {
            revive(&cluster, &mut rng, &plan, i).await;
        }
        let (i, j) = two(&cluster, &mut rng);
        match rng.below(12) {
            0 | 1 => cluster.isolate(i),
            2 => cluster.cut(i, j),
            3 => (0..cluster.size()).filter(|other| *other != i).for_each(|other| cluster.cut(i, other)),
            4 | 5 => cluster.heal(),
            6 => cluster.lose(rng.below(100)),
            7 => end(&cluster, &mut rng, &plan, i),
            8 => [i, j].into_iter().for_each(|node| end(&cluster, &mut rng, &plan, node)),
            9 => (0..cluster.size()).for_each(|node| end(&cluster, &mut rng, &plan, node)),
            10 => {
                let master = cluster.master().unwrap_or(i);
                end(&cluster, &mut rng, &plan, master);
            }
            // Closing fails where a disk was told to fail.
            _ => drop(cluster.stop(i).await),
        }
        if plan.disk_faults && rng.chance(300) && cluster.ledger(j).is_some() {
            if rng.chance(700) { cluster.fail_sync(j, rng.below(20)) } else { cluster.fill_disk(j, rng.below(2)) }
        }
        if plan.retention && rng.chance(400) {
            remove(&cluster, &mut rng, j);
        }
    }
}

fn two(cluster: &SimCluster, rng: &mut Rng) -> (usize, usize) {
    let size = cluster.size() as u64;
    let i = rng.below(size);
    (i as usize, ((i + 1 + rng.below(size - 1)) % size) as usize)
}

/// Asks node `i` to remove some of what it has, beside whatever comes next.
fn remove(cluster: &SimCluster, rng: &mut Rng, i: usize) {
    let Some(ledger) = cluster.ledger(i) else { return };
    let status = ledger.status();
    let index = status.first + rng.below(status.committed - status.first + 1);
    // It may be refused or cut short; the laws hold all the same.
    drop(sim::spawn(async move { ledger.remove_below(index).await }));
}

fn end(cluster: &SimCluster, rng: &mut Rng, plan: &Chaos, i: usize) {
    if plan.power_loss && rng.chance(700) { cluster.crash(i) } else { cluster.kill(i) }
}

/// Mostly starts what is down.
async fn revive(cluster: &SimCluster, rng: &mut Rng, plan: &Chaos, i: usize) {
    if matches!(cluster.role(i), Some(Role::Closed { .. })) {
        end(cluster, rng, plan, i);
    }
    if cluster.ledger(i).is_some() || rng.chance(300) {
        return;
    }
    if plan.disk_faults && rng.chance(200) {
        cluster.fail_sync(i, rng.below(8));
    }
    match cluster.start(i).await {
        Err(_) if plan.disk_faults => cluster.kill(i),
        Err(error) => panic!("node {i} does not start any more: {error}"),
        Ok(()) => {}
    }
}

/// Starts a node that must be able to start.
pub(super) async fn start(cluster: &SimCluster, i: usize) {
    if let Err(error) = cluster.start(i).await {
        panic!("node {i} does not start any more: {error}");
    }
}
