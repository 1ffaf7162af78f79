//! Disks that are slow, hang, are full, fail to sync, or lose their power.

use std::time::Duration;

use super::stage::Standing;
use super::{Stage, Trouble};
use crate::machine::Fault;

/// A disk that is slow takes so much a second.
const SLOW: u64 = 256 << 10;
/// More than two segments: a node needs another one soon.
const SEGMENTS: u64 = 40 << 20;
/// Longest that a node may take to see what its disk does.
const NOTICED: Duration = Duration::from_secs(20);
/// How long a node may be left with a disk that does nothing until it has to end.
const END: Duration = Duration::from_secs(30);

pub(super) async fn slow(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let fault = stage.machine.slow_disk(Stage::id(leader), SLOW);
    let mut standing = stage.install(&*fault)?;
    stage.hold().await;
    stage.seen(&mut standing).await?;
    stage.remove(standing)?;
    stage.at_work("after a disk was slow").await
}

/// The master's disk hangs: it has to hand over.
pub(super) async fn hang_leader(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let fault = stage.machine.hang_disk(Stage::id(leader));
    let mut standing = stage.install(&*fault)?;
    stage.another_leads(leader, "while the disk of the old master hung").await?;
    stage.at_work("while the disk of the old master hung").await?;
    stage.hold().await;
    stage.seen(&mut standing).await?;
    stage.remove(standing)?;
    stage.at_work("after a disk had hung").await
}

pub(super) async fn hang_follower(stage: &mut Stage) -> Result<(), Trouble> {
    let follower = stage.follower().await?;
    let fault = stage.machine.hang_disk(Stage::id(follower));
    let mut standing = stage.install(&*fault)?;
    stage.at_work("while the disk of a slave hung").await?;
    stage.hold().await;
    stage.seen(&mut standing).await?;
    stage.remove(standing)?;
    stage.at_work("after a disk had hung").await
}

pub(super) async fn full_leader(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    full(stage, leader).await
}

pub(super) async fn full_follower(stage: &mut Stage) -> Result<(), Trouble> {
    let follower = stage.follower().await?;
    full(stage, follower).await
}

/// It takes what fits into the segments it has. A master then refuses; a slave falls behind.
async fn full(stage: &mut Stage, n: usize) -> Result<(), Trouble> {
    let fault = stage.machine.fill_disk(Stage::id(n));
    let mut standing = stage.install(&*fault)?;
    // Refused where the master is the one.
    let _ = stage.workload.fill(SEGMENTS).await;
    let what = format!("{} says that its disk is full", stage.node(n).name());
    let full = stage.cluster.until(&what, NOTICED, |said| said[n].as_ref()?.disk_full.clone()).await;
    // A node that does not notice was never in the state that is to be tested.
    let why = full.map_err(Trouble::Test)?;
    stage.note(format!("{}: {why}", stage.node(n).name()));
    stage.seen(&mut standing).await?;
    stage.hold().await;
    stage.remove(standing)?;
    stage.at_work("after a disk was full").await
}

/// A sync fails: the node must never acknowledge anything again, until it is started anew.
pub(super) async fn fail_syncs(stage: &mut Stage) -> Result<(), Trouble> {
    let n = if stage.rng.once_in(3) { stage.follower().await? } else { stage.leader().await? };
    let led = stage.leader().await? == n;
    let node = stage.node(n);
    let fault = stage.machine.fail_syncs(Stage::id(n));
    let mut standing = install_deadly(stage, &*fault, &[n])?;
    if led {
        stage.another_leads(n, "after a sync of the old master had failed").await?;
    }
    stage.at_work("after a sync of one node had failed").await?;
    stage.seen(&mut standing).await?;
    if node.runs().await {
        let what = format!("{} is closed, for its disk failed to sync", node.name());
        let closed = |said: &[Option<dledger::Status>]| said[n].as_ref()?.role.reason().map(String::from);
        let closed = stage.cluster.until(&what, NOTICED, closed).await;
        let why = closed.map_err(Trouble::Violation)?;
        stage.note(format!("{} closed its ledger: {why}", node.name()));
    }
    stage.hold().await;
    if node.runs().await {
        node.kill().await?;
    }
    stage.remove(standing)?;
    stage.up(n).await?;
    stage.at_work("after a disk that failed to sync was replaced").await
}

pub(super) async fn power_of_one(stage: &mut Stage) -> Result<(), Trouble> {
    let n = if stage.rng.once_in(2) { stage.leader().await? } else { stage.follower().await? };
    power(stage, &[n]).await
}

pub(super) async fn power_of_a_majority(stage: &mut Stage) -> Result<(), Trouble> {
    let mut members = stage.members.clone();
    stage.rng.shuffle(&mut members);
    members.truncate(members.len() / 2 + 1);
    power(stage, &members).await
}

pub(super) async fn power_of_all(stage: &mut Stage) -> Result<(), Trouble> {
    let members = stage.members.clone();
    power(stage, &members).await
}

async fn power(stage: &mut Stage, which: &[usize]) -> Result<(), Trouble> {
    let ids: Vec<u64> = which.iter().map(|n| Stage::id(*n)).collect();
    let fault = stage.machine.lose_power(&ids);
    let standing = install_deadly(stage, &*fault, which)?;
    for n in which {
        // The one who looks for deaths may have seen it first.
        let node = stage.node(*n);
        if node.runs().await {
            node.ended(END).await?;
        }
    }
    if which.len() <= (stage.members.len() - 1) / 2 {
        stage.at_work("while one node had no power").await?;
    }
    stage.remove(standing)?;
    for n in which {
        stage.up(*n).await?;
    }
    stage.at_work("after a loss of power").await
}

/// A fault that explains that these nodes end. Where it cannot be installed, nothing explains that.
fn install_deadly(stage: &mut Stage, fault: &dyn Fault, which: &[usize]) -> Result<Standing, Trouble> {
    // Before: they may end at once.
    which.iter().for_each(|n| stage.node(*n).may_end(true));
    stage.install(fault).inspect_err(|_| which.iter().for_each(|n| stage.node(*n).may_end(false)))
}

/// The wall clock of a node jumps: nothing may come of it.
pub(super) async fn clock(stage: &mut Stage) -> Result<(), Trouble> {
    let n = if stage.rng.once_in(2) { stage.leader().await? } else { stage.follower().await? };
    let seconds = if stage.rng.once_in(2) { 3600 } else { -3600 };
    let fault = stage.machine.shift_clock(Stage::id(n), seconds);
    let mut standing = stage.install(&*fault)?;
    stage.at_work("while a clock was wrong").await?;
    stage.seen(&mut standing).await?;
    stage.hold().await;
    stage.remove(standing)?;
    stage.at_work("after a clock was wrong").await
}
