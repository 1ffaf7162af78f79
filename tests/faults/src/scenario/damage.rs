//! Files that are damaged while their node is down.

use std::ops::Range;
use std::path::PathBuf;

use super::processes::{back, kill};
use super::stage::Standing;
use super::{Stage, Trouble};
use crate::machine::damage::helix;
use crate::machine::{Damage, Snapshot};

/// What the nodes of these scenarios are told: `--segment-size`.
pub(super) const SEGMENT: u64 = 16 << 20;
/// How large the pieces are that the damage on all nodes is dealt out in.
const PIECE: u64 = 64 << 10;

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

/// All nodes are down, and every piece of every full segment is damaged on exactly one of them.
pub(super) async fn everywhere(stage: &mut Stage) -> Result<(), Trouble> {
    let members = stage.members.clone();
    let mut full = Vec::new();
    for n in &members {
        full.push(committed(stage, *n).await? / SEGMENT);
    }
    let full = full.into_iter().min().unwrap_or(0);
    if full == 0 {
        return Err(Trouble::Test("there is no full segment to damage".into()));
    }
    let standing = kill(stage, &members, "all of them, to damage their files").await?;
    let ids = stage.ids();
    let regions: Vec<Range<u64>> = (0..SEGMENT / PIECE).map(|n| n * PIECE..(n + 1) * PIECE).collect();
    let mut damage = Vec::new();
    for segment_number in 0..full {
        let file = |id: u64| segment(stage, id as usize - 1, segment_number * SEGMENT);
        damage.extend(helix(&ids, &regions, file));
    }
    let damaged = done(stage, damage).await?;
    back(stage, &members, standing).await?;
    repaired(stage, &members, damaged, true)?;
    stage.at_work("after all were damaged and started again").await
}

/// One node is down while its files are damaged.
async fn one(stage: &mut Stage, n: usize, what: Vec<Damage>, noticed: bool) -> Result<(), Trouble> {
    let standing = kill(stage, &[n], "to damage its files").await?;
    let damaged = done(stage, what).await?;
    back(stage, &[n], standing).await?;
    repaired(stage, &[n], damaged, noticed)?;
    stage.at_work("after one was damaged and started again").await
}

async fn done(stage: &mut Stage, what: Vec<Damage>) -> Result<Standing, Trouble> {
    let fault = stage.machine.damage(what);
    let mut standing = stage.install(&*fault)?;
    stage.seen(&mut standing).await?;
    Ok(standing)
}

/// The nodes serve again. What they said of the damage is evidence; that they hold the same as the others is for the
/// final read to show.
fn repaired(stage: &mut Stage, which: &[usize], mut standing: Standing, noticed: bool) -> Result<(), Trouble> {
    for n in which {
        let node = stage.node(*n);
        let lines = node.lines_with("repaired");
        match lines.last() {
            Some(line) => stage.see(&mut standing, line),
            // It may have hit what is not read again, and the final read then says so.
            None if noticed => {
                let text = format!("{} said nothing of a repair", node.name());
                stage.progress().recorder().record(dledger::history::What::Note { text });
            }
            None => {}
        }
    }
    stage.remove(standing)
}

async fn committed(stage: &Stage, n: usize) -> Result<u64, Trouble> {
    let client = stage.cluster.client(std::time::Duration::from_secs(2));
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
