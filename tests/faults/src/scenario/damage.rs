//! Files that are damaged while their node is down.

use std::path::PathBuf;
use std::time::Duration;

use dledger::ReadLimit;
use futures::TryStreamExt;

use super::processes::{back, kill};
use super::stage::Standing;
use super::{Stage, Trouble};
use crate::machine::{Damage, Region, Snapshot};
use crate::workload::LONG;

/// What the nodes of these scenarios are told: `--segment-size`.
pub(super) const SEGMENT: u64 = 16 << 20;
/// What a node says of damage that it has made good.
const REPAIRED: &str = "repaired";

pub(super) async fn flips(stage: &mut Stage) -> Result<(), Trouble> {
    let n = stage.follower().await?;
    let committed = committed(stage, n).await?;
    let position = stage.rng.within(0..committed);
    let file = segment(stage, n, position);
    let within = committed.saturating_sub(position / SEGMENT * SEGMENT).min(SEGMENT);
    let offsets = (0..4).map(|_| stage.rng.within(0..within)).collect();
    one(stage, n, vec![Damage::Flip { file, offsets }], true).await
}

pub(super) async fn truncated(stage: &mut Stage) -> Result<(), Trouble> {
    let n = stage.follower().await?;
    let position = sealed(stage, n).await?;
    let length = stage.rng.within(0..SEGMENT);
    one(stage, n, vec![Damage::Truncate { file: segment(stage, n, position), length }], true).await
}

pub(super) async fn deleted(stage: &mut Stage) -> Result<(), Trouble> {
    let n = if stage.rng.once_in(2) { stage.leader().await? } else { stage.follower().await? };
    let position = sealed(stage, n).await?;
    one(stage, n, vec![Damage::Delete { file: segment(stage, n, position) }], true).await
}

/// A segment is what it was a while ago, as after a write that never reached the disk.
pub(super) async fn stale(stage: &mut Stage) -> Result<(), Trouble> {
    let n = stage.follower().await?;
    let committed = committed(stage, n).await?;
    let old = Snapshot::of(segment(stage, n, committed))?;
    stage.workload.fill(SEGMENT * 3 / 2).await.map_err(Trouble::Test)?;
    one(stage, n, vec![Damage::Restore(old)], true).await
}

/// A cache that can be rebuilt is damaged.
pub(super) async fn index(stage: &mut Stage) -> Result<(), Trouble> {
    let n = stage.follower().await?;
    let position = sealed(stage, n).await?;
    let mut file = segment(stage, n, position).into_os_string();
    file.push(".index");
    let file = PathBuf::from(file);
    let what = match stage.rng.below(3) {
        0 => Damage::Delete { file },
        1 => Damage::Truncate { file, length: 100 },
        _ => Damage::Flip { file, offsets: vec![8, 64, 100] },
    };
    one(stage, n, vec![what], false).await
}

/// Every long record is damaged on exactly one node. The nodes go down in turn; what one does not notice when it starts
/// is there still when the next one is damaged.
pub(super) async fn everywhere(stage: &mut Stage) -> Result<(), Trouble> {
    let members = stage.members.clone();
    let records = long_records(stage).await?;
    for (share, n) in members.iter().enumerate() {
        let mine = records.iter().skip(share).step_by(members.len());
        let what: Vec<_> = mine.map(|position| scrambled(stage, *n, *position)).collect();
        if what.is_empty() {
            return Err(Trouble::Test(format!("there are {} long records only to damage", records.len())));
        }
        one(stage, *n, what, true).await?;
    }
    Ok(())
}

/// Some bytes in the middle of the long record at `position`.
fn scrambled(stage: &Stage, n: usize, position: u64) -> Damage {
    let from = (position + LONG as u64 / 2) % SEGMENT;
    Damage::Scramble(Region { file: segment(stage, n, position), bytes: from..from + 64 })
}

/// Where the long records of full segments are. Each has an entry for itself: two in one would be damaged on two nodes.
async fn long_records(stage: &Stage) -> Result<Vec<u64>, Trouble> {
    let mut full = u64::MAX;
    for n in &stage.members {
        full = full.min(committed(stage, *n).await? / SEGMENT * SEGMENT);
    }
    let told = |error: &dyn std::fmt::Display| Trouble::Test(format!("where the records are cannot be told: {error}"));
    let client = stage.cluster.client(Duration::from_secs(10));
    let node = client.any_node().await.map_err(|error| told(&error))?;
    let first = node.status().await.map_err(|error| told(&error))?.first;
    let limit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
    let records = node.read_stream(first.., limit).await.map_err(|error| told(&error))?;
    let positions = records.try_filter_map(|record| async move {
        Ok((record.body.len() >= LONG && record.position + (LONG as u64) < full).then_some(record.position))
    });
    positions.try_collect().await.map_err(|error| told(&error))
}

/// One node is down while its files are damaged.
async fn one(stage: &mut Stage, n: usize, what: Vec<Damage>, noticed: bool) -> Result<(), Trouble> {
    let standing = kill(stage, &[n], "to damage its files").await?;
    // Its earlier lives may have repaired what was damaged before.
    let before = stage.node(n).lines_with(REPAIRED).len();
    let damaged = done(stage, what).await?;
    back(stage, &[n], standing).await?;
    repaired(stage, n, before, noticed);
    stage.remove(damaged)?;
    stage.at_work("after one was damaged and started again").await
}

async fn done(stage: &mut Stage, what: Vec<Damage>) -> Result<Standing, Trouble> {
    let fault = stage.machine.damage(what);
    let mut standing = stage.install(&*fault)?;
    stage.seen(&mut standing).await?;
    Ok(standing)
}

/// The node serves again. What it said of the damage, after so many lines of earlier lives, is for people; that it
/// holds the same as the others is for the final read to show.
fn repaired(stage: &Stage, n: usize, before: usize, noticed: bool) {
    let node = stage.node(n);
    match node.lines_with(REPAIRED).get(before..).and_then(<[_]>::last) {
        Some(line) => stage.note(line),
        // It may have hit what is not read again, and the final read then says so.
        None if noticed => stage.note(format!("{} said nothing of a repair", node.name())),
        None => {}
    }
}

async fn committed(stage: &Stage, n: usize) -> Result<u64, Trouble> {
    let client = stage.cluster.client(Duration::from_secs(2));
    let status = stage.cluster.status(&client, n).await;
    let status = status.ok_or_else(|| Trouble::Test(format!("{} gave no status", stage.node(n).name())))?;
    Ok(status.committed_position)
}

/// A position in a segment that is full.
async fn sealed(stage: &mut Stage, n: usize) -> Result<u64, Trouble> {
    match committed(stage, n).await? / SEGMENT {
        0 => Err(Trouble::Test("there is no full segment to damage".into())),
        full => Ok(stage.rng.within(0..full) * SEGMENT),
    }
}

fn segment(stage: &Stage, n: usize, position: u64) -> PathBuf {
    stage.cluster.ledger_dir(n).join(format!("{:020}", position / SEGMENT * SEGMENT))
}
