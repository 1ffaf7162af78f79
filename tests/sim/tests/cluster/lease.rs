//! What a lease rests on: that nobody who answered the leader helps another one before the leader's time is over.
//!
//! Each scenario brings about over and over what [`reads`](crate::reads) meet now and then, and has lease
//! reads only. `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again.

use std::time::Duration;

use crate::reads::{NODES, SOON, World, millis, seeds, started};
use dledger::types::Consistency;
use dledger_sim::{Rng, pass, run, spawn};

/// Runs `scenario` under appends and lease reads everywhere, and checks that no read missed anything. Returns how many
/// reads were served.
fn under_lease_reads<F: Future<Output = ()>>(seed: u64, scenario: impl FnOnce(World, Rng) -> F) -> u64 {
    run(seed, async {
        let world = started(seed).await;
        let mut rng = Rng::new(seed ^ 0x1ea5e);
        let tasks: Vec<_> = (0..NODES)
            .map(|i| {
                let reader = world.clone().read(i, &[Consistency::Lease], rng.fork());
                (spawn(world.clone().write(i)), spawn(reader))
            })
            .collect();
        scenario(world.clone(), rng).await;
        world.state.lock().over = true;
        for (writer, reader) in tasks {
            writer.await;
            reader.await;
        }
        let state = world.state.lock();
        assert_eq!(state.stale, None, "seed {seed}: DLEDGER_SEED={seed} runs it again");
        state.served.iter().sum()
    })
}

/// Runs `scenario` for each seed.
fn each<F: Future<Output = ()>>(usual: u64, scenario: impl Fn(World, Rng) -> F) {
    let served: u64 = seeds(usual).map(|seed| under_lease_reads(seed, &scenario)).sum();
    assert!(served > 100, "{served} reads were served: that says nothing");
}

/// While another node asks for its vote all the time.
#[test]
fn a_follower_that_restarts_again_and_again_keeps_the_promises_it_made() {
    each(2, |world, mut rng| async move {
        let cluster = &world.cluster;
        for _ in 0..4 {
            let Some(master) = cluster.master() else { break };
            let (forgetful, waiting) = ((master + 1) % NODES, (master + 2) % NODES);
            cluster.cut(master, waiting);
            cluster.cut(waiting, master);
            // What the other one lacks would keep it from being elected.
            world.state.lock().quiet = true;
            pass(millis(600)).await;
            for _ in 0..12 {
                world.restart(forgetful).await;
                pass(Duration::from_micros(20_000 + rng.below(80_000))).await;
                if world.over() || cluster.master() != Some(master) {
                    break;
                }
            }
            world.state.lock().quiet = false;
            pass(millis(100)).await;
            cluster.heal();
            cluster.wait("a master again", SOON, || cluster.master().is_some()).await;
        }
    });
}

/// Its connections are reset and refused, as those of a process that has died; but it lives, and counts on what it was
/// answered.
#[test]
fn a_leader_that_seems_dead_is_not_succeeded_while_it_counts_on_an_answer() {
    each(3, |world, mut rng| async move {
        let cluster = &world.cluster;
        for _ in 0..12 {
            pass(Duration::from_micros(rng.below(70_000))).await;
            let Some(master) = cluster.master().filter(|_| !world.over()) else { break };
            cluster.shun(master);
            pass(millis(150)).await;
            cluster.heal();
            cluster.wait("a master again", SOON, || cluster.master().is_some()).await;
        }
    });
}

/// The answers are long under way: by the time they come, most of what they promise is over.
#[test]
fn a_late_answer_gives_no_more_time_than_it_was_sent_for() {
    each(1, |world, mut rng| async move {
        let cluster = &world.cluster;
        world.state.lock().longer = millis(200);
        for _ in 0..8 {
            let Some(master) = cluster.master().filter(|_| !world.over()) else { break };
            let others = [(master + 1) % NODES, (master + 2) % NODES];
            others.iter().for_each(|i| cluster.delay(*i, master, millis(200)));
            pass(Duration::from_micros(500_000 + rng.below(200_000))).await;
            cluster.shun(master);
            pass(millis(300)).await;
            cluster.heal();
            cluster.wait("a master again", SOON, || cluster.master().is_some()).await;
        }
    });
}
