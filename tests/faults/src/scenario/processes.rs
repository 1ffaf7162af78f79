//! Processes that are killed, paused and restarted.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::interval;

use super::stage::Standing;
use super::{Stage, Trouble};
use crate::cluster::Node;

/// How long a node may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(15);

pub(super) async fn kill_leader(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let standing = kill(stage, &[leader], "it led").await?;
    stage.another_leads(leader, "after the master was killed").await?;
    stage.at_work("after the master was killed").await?;
    stage.hold().await;
    back(stage, &[leader], standing).await
}

pub(super) async fn kill_follower(stage: &mut Stage) -> Result<(), Trouble> {
    let follower = stage.follower().await?;
    let standing = kill(stage, &[follower], "it followed").await?;
    stage.at_work("after a slave was killed").await?;
    stage.hold().await;
    back(stage, &[follower], standing).await
}

pub(super) async fn kill_all(stage: &mut Stage) -> Result<(), Trouble> {
    let all = stage.members.clone();
    let standing = kill(stage, &all, "all of them").await?;
    back(stage, &all, standing).await?;
    stage.at_work("after all were killed and started again").await
}

/// Kills any node, again and again, never a majority at once.
pub(super) async fn kill_storm(stage: &mut Stage) -> Result<(), Trouble> {
    for _ in 0..6 {
        let mut members = stage.members.clone();
        stage.rng.shuffle(&mut members);
        members.truncate((members.len() - 1) / 2);
        let standing = kill(stage, &members, "the node that was drawn").await?;
        back(stage, &members, standing).await?;
    }
    stage.at_work("after a storm of kills").await
}

pub(super) async fn pause_leader(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let standing = pause(stage, &[leader], "it led").await?;
    stage.another_leads(leader, "while the master was paused").await?;
    stage.at_work("while the old master was paused").await?;
    stage.hold().await;
    go_on(stage, &[leader], standing).await
}

pub(super) async fn pause_majority(stage: &mut Stage) -> Result<(), Trouble> {
    let mut members = stage.members.clone();
    stage.rng.shuffle(&mut members);
    members.truncate(members.len() / 2 + 1);
    let standing = pause(stage, &members, "a majority").await?;
    stage.hold().await;
    go_on(stage, &members, standing).await?;
    stage.at_work("after a majority was paused").await
}

/// The master stops for shorter than the others wait, again and again: it never knows whether it still leads.
pub(super) async fn stutter(stage: &mut Stage) -> Result<(), Trouble> {
    for _ in 0..5 {
        let leader = stage.leader().await?;
        let standing = pause(stage, &[leader], "it led, for a moment").await?;
        let mut moment = interval(Duration::from_millis(stage.rng.within(200..1800)));
        moment.tick().await;
        moment.tick().await;
        go_on(stage, &[leader], standing).await?;
    }
    stage.at_work("after the master had stuttered").await
}

pub(super) async fn rolling_restart(stage: &mut Stage) -> Result<(), Trouble> {
    let mut members = stage.members.clone();
    stage.rng.shuffle(&mut members);
    for n in members {
        let node = stage.node(n);
        let standing = stage.begin("restart", &[n], "SIGTERM");
        if let Err(error) = node.stop(STOP).await {
            return Err(Trouble::Violation(error.to_string()));
        }
        stage.see(&standing, "it ended with exit status 0");
        stage.up(n).await?;
        stage.end(&standing, "it serves again");
        stage.at_work("in a rolling restart").await?;
    }
    Ok(())
}

/// Kills them at once.
pub(super) async fn kill(stage: &mut Stage, which: &[usize], why: &str) -> Result<Standing, Trouble> {
    let standing = stage.begin("kill", which, why);
    let nodes: Vec<_> = which.iter().map(|n| stage.node(*n)).collect();
    for end in futures::future::join_all(nodes.iter().map(|node| node.kill())).await {
        stage.see(&standing, end?);
    }
    Ok(standing)
}

/// They run again.
pub(super) async fn back(stage: &mut Stage, which: &[usize], standing: Standing) -> Result<(), Trouble> {
    stage.cluster.start(which).await?;
    for n in which {
        stage.up(*n).await?;
    }
    stage.end(&standing, "started again, and they answer");
    Ok(())
}

async fn pause(stage: &mut Stage, which: &[usize], why: &str) -> Result<Standing, Trouble> {
    let standing = stage.begin("pause", which, why);
    for n in which {
        stage.node(*n).signal(Signal::STOP).await?;
    }
    for n in which {
        let node = stage.node(*n);
        if !stops(&node).await {
            // None stays stopped.
            for n in which {
                stage.node(*n).signal(Signal::CONT).await?;
            }
            return Err(Trouble::Test(format!("{} was told to stop, and /proc does not say so", node.name())));
        }
        stage.see(&standing, format!("{} is stopped, says /proc", node.name()));
    }
    Ok(standing)
}

/// Whether the process comes to be stopped: each of its threads does so by itself.
async fn stops(node: &Node) -> bool {
    let mut look = interval(Duration::from_millis(10));
    for _ in 0..500 {
        look.tick().await;
        if node.state().await == Some('T') {
            return true;
        }
    }
    false
}

async fn go_on(stage: &mut Stage, which: &[usize], standing: Standing) -> Result<(), Trouble> {
    for n in which {
        stage.node(*n).signal(Signal::CONT).await?;
    }
    for n in which {
        stage.up(*n).await?;
    }
    stage.end(&standing, "they answer again");
    Ok(())
}
