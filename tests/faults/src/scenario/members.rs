//! Members that come and go, masters that hand over, records that are removed.

use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::time::Duration;

use dledger::ClientError;
use dledger_history::{Answer, Call, What};

use super::processes::{back, kill};
use super::stage::Standing;
use super::{Stage, Trouble};
use crate::cluster::leader_of;

/// How long a member may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How long a change may take besides.
const CHANGE: Duration = Duration::from_secs(20);
/// The number that calls of the operator carry as their client.
const OPERATOR: u64 = 1_000_000;
/// How often a change that failed is asked for again.
const TRIES: usize = 5;

/// A node joins, becomes a voter, a voter leaves; then the other way round.
pub(super) async fn churn(stage: &mut Stage) -> Result<(), Trouble> {
    let spare: Vec<_> = (0..stage.cluster.nodes.len()).filter(|n| !stage.members.contains(n)).collect();
    let new = *spare.first().ok_or_else(|| Trouble::Test("no node is left to join".into()))?;
    empty(stage, new).await?;
    stage.node(new).start().await?;
    stage.up(new).await?;
    let address = stage.node(new).place().address.clone();
    let client = stage.cluster.client(CHANGE);
    let standing = stage.begin("membership", &[new], "it is to become a voter");
    change(stage, &format!("add {address}"), async || client.add_learner(&address).await.map(drop)).await?;
    let name = stage.node(new).name().parse().map_err(|error| Trouble::Test(format!("{error}")))?;
    change(stage, &format!("promote {name}"), async || client.promote(&name, CATCH_UP).await).await?;
    stage.members.push(new);
    listed(stage, &standing, new, true).await?;
    stage.at_work("with another member").await?;
    stage.hold().await;
    stage.end(&standing, "the change is over");
    // One of the old ones goes; it may be the master.
    let old = *stage.rng.pick(&stage.members[..stage.members.len() - 1]);
    let gone = stage.node(old).name().parse().map_err(|error| Trouble::Test(format!("{error}")))?;
    let standing = stage.begin("membership", &[old], "it is to leave");
    change(stage, &format!("remove {gone}"), async || client.remove_member(&gone).await).await?;
    stage.members.retain(|n| *n != old);
    listed(stage, &standing, old, false).await?;
    stage.at_work("after a member was taken out").await?;
    stage.end(&standing, "the change is over");
    stage.node(old).kill().await?;
    Ok(())
}

/// A disk is lost: the node comes back empty, and takes its own place.
pub(super) async fn replace(stage: &mut Stage) -> Result<(), Trouble> {
    let n = if stage.rng.once_in(2) { stage.leader().await? } else { stage.follower().await? };
    let standing = kill(stage, &[n], "its disk is lost").await?;
    empty(stage, n).await?;
    back(stage, &[n], standing).await?;
    stage.at_work("while one waits to be replaced").await?;
    let (name, address) = (stage.node(n).name().to_owned(), stage.node(n).place().address.clone());
    let id = name.parse().map_err(|error| Trouble::Test(format!("{error}")))?;
    let client = stage.cluster.client(CHANGE);
    change(stage, &format!("replace {name}"), async || client.replace_member(&id, &address, CATCH_UP).await.map(drop))
        .await?;
    stage.at_work("after a member was replaced").await
}

pub(super) async fn transfers(stage: &mut Stage) -> Result<(), Trouble> {
    for _ in 0..4 {
        let old = stage.leader().await?;
        let to = stage.others(old)[0];
        let standing = stage.begin("transfer", &[old, to], format!("{} is to hand over", stage.node(old).name()));
        hand_over(stage, to).await?;
        // If it is another one than was told to, the fault stays unseen.
        if stage.another_leads(old, "after a transfer").await? == to {
            stage.see(&standing, format!("{} took over, as it was told to", stage.node(to).name()));
        }
        stage.at_work("after a transfer").await?;
        stage.end(&standing, "");
    }
    Ok(())
}

/// `to` is asked to take over. One that is behind is refused, and asked again: what has happened is found to have
/// happened.
async fn hand_over(stage: &Stage, to: usize) -> Result<(), Trouble> {
    let name = stage.node(to).name().to_owned();
    let id = name.parse().map_err(|error| Trouble::Test(format!("{error}")))?;
    let client = stage.cluster.client(CHANGE);
    let recorder = stage.progress().recorder();
    for _ in 0..TRIES {
        let op = recorder.invoke(OPERATOR, Call::Transfer { to: name.clone() });
        match client.transfer_leadership(&id).await {
            Ok(()) => {
                recorder.ok(op, Answer::Done);
                break;
            }
            Err(error) => recorder.unknown(op, error),
        }
    }
    Ok(())
}

/// Records are removed by the nodes themselves and by an operator, while a node is down.
pub(super) async fn retention(stage: &mut Stage) -> Result<(), Trouble> {
    stage.workload.fill(48 << 20).await.map_err(Trouble::Test)?;
    let n = stage.follower().await?;
    let standing = kill(stage, &[n], "it misses what is removed").await?;
    stage.workload.fill(64 << 20).await.map_err(Trouble::Test)?;
    let leader = stage.leader().await?;
    let client = stage.cluster.client(CHANGE);
    let name = stage.node(leader).name().to_owned();
    let id = name.parse().map_err(|error| Trouble::Test(format!("{error}")))?;
    let end = stage.progress().figures().end;
    let recorder = stage.progress().recorder().clone();
    let op = recorder.invoke(OPERATOR, Call::RemoveBelow { index: end, node: name });
    let node = client.node(&id).map_err(|error| Trouble::Test(error.to_string()))?;
    match node.remove_below(end).await {
        Ok(_) => recorder.ok(op, Answer::Done),
        Err(error) => recorder.unknown(op, error),
    }
    let removed = stage
        .cluster
        .until("records are removed", CATCH_UP, |said| said.iter().flatten().any(|said| said.first > 0).then_some(()));
    removed.await.map_err(Trouble::Violation)?;
    back(stage, &[n], standing).await?;
    stage.at_work("after records were removed").await
}

/// The node's directory is emptied; it is to join with its next process. A directory that is empty has no such fault.
async fn empty(stage: &mut Stage, n: usize) -> Result<(), Trouble> {
    let node = stage.node(n);
    let dir = &node.place().data_dir;
    let there = entries(dir)?;
    if !there.is_empty() {
        let standing = stage.begin("wipe", &[n], "its directory is emptied");
        for entry in &there {
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        if entries(dir)?.is_empty() {
            stage.see(&standing, format!("{} entries of {} are gone", there.len(), dir.display()));
        }
        stage.end(&standing, "");
    }
    node.set_args(stage.cluster.joining(n));
    Ok(())
}

/// What is in a directory, but for what the filesystem itself puts there.
fn entries(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let all = std::fs::read_dir(dir)?;
    all.filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != "lost+found")).collect()
}

/// The change is seen once the master lists the node as a voter, or lists it no more.
async fn listed(stage: &Stage, standing: &Standing, n: usize, voter: bool) -> Result<(), Trouble> {
    let name = stage.node(n).name().to_owned();
    let what = format!("the master lists {name} {}", if voter { "as a voter" } else { "no more" });
    let found = stage.cluster.until(&what, CATCH_UP, |said| {
        let (master, status) = leader_of(said)?;
        let own = status.members.iter().find(|known| known.member.id.as_str() == name);
        // An empty list says nothing of anybody.
        let done = !status.members.is_empty() && if voter { own.is_some_and(|own| own.voter) } else { own.is_none() };
        let names = status.members.iter().map(|known| known.member.id.as_str());
        done.then(|| (master, names.collect::<Vec<_>>().join(", ")))
    });
    let (master, members) = found.await.map_err(Trouble::Violation)?;
    stage.see(standing, format!("{what}: the members of {} are {members}", stage.node(master).name()));
    Ok(())
}

/// A change is repeated until it is known to have happened: what has happened is found to have happened.
async fn change(stage: &Stage, what: &str, call: impl AsyncFn() -> Result<(), ClientError>) -> Result<(), Trouble> {
    let recorder = stage.progress().recorder();
    let mut last = String::new();
    for _ in 0..TRIES {
        let op = recorder.invoke(OPERATOR, Call::Members { change: what.to_owned() });
        match call().await {
            Ok(()) => {
                recorder.ok(op, Answer::Done);
                return Ok(());
            }
            Err(error) => {
                last = error.to_string();
                recorder.unknown(op, error);
            }
        }
    }
    recorder.record(What::Note { text: format!("{what}: {last}") });
    Err(Trouble::Violation(format!("{what} did not happen, asked {TRIES} times: {last}")))
}
