//! Links that are cut, broken, lossy and slow.

use std::time::Duration;

use super::{Stage, Trouble};
use crate::machine::{Fault, Links, Party};

pub(super) async fn isolate_leader(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let links = Links::isolate(Stage::id(leader), &stage.ids());
    without_leader(stage, leader, links, "while the old master was cut off").await
}

pub(super) async fn isolate_follower(stage: &mut Stage) -> Result<(), Trouble> {
    let follower = stage.follower().await?;
    let links = Links::isolate(Stage::id(follower), &stage.ids());
    let fault = stage.machine.cut(links);
    with_work(stage, &*fault, "while a slave was cut off").await
}

/// The master and one or two more on one side, the majority on the other.
pub(super) async fn split(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let others = stage.others(leader);
    let with_it = (stage.members.len() - 1) / 2 - 1;
    let (few, many) = others.split_at(with_it);
    let few: Vec<u64> = few.iter().chain([&leader]).map(|n| Stage::id(*n)).collect();
    let many: Vec<u64> = many.iter().map(|n| Stage::id(*n)).collect();
    without_leader(stage, leader, Links::split(&[&few, &many]), "while the old master was in the minority").await
}

/// What the master says is not heard.
pub(super) async fn leader_unheard(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let from = Party::Node(Stage::id(leader));
    let links = towards(stage.others(leader), |other| (from, other));
    without_leader(stage, leader, links, "while nobody heard the old master").await
}

/// The master hears nothing.
pub(super) async fn leader_deaf(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let to = Party::Node(Stage::id(leader));
    let links = towards(stage.others(leader), |other| (other, to));
    without_leader(stage, leader, links, "while the old master heard nobody").await
}

pub(super) async fn ring(stage: &mut Stage) -> Result<(), Trouble> {
    let mut ids = stage.ids();
    stage.rng.shuffle(&mut ids);
    let fault = stage.machine.cut(Links::ring(&ids, 1));
    for_a_while(stage, &*fault).await
}

pub(super) async fn bridge(stage: &mut Stage) -> Result<(), Trouble> {
    // Across a master nothing would be cut: its slaves have nothing to say to each other.
    let bridge = Stage::id(stage.follower().await?);
    let mut ids = stage.ids();
    stage.rng.shuffle(&mut ids);
    let fault = stage.machine.cut(Links::bridge(bridge, &ids));
    for_a_while(stage, &*fault).await
}

/// One partition after the other, each soon gone.
pub(super) async fn flicker(stage: &mut Stage) -> Result<(), Trouble> {
    for _ in 0..4 {
        let mut ids = stage.ids();
        stage.rng.shuffle(&mut ids);
        let fault = stage.machine.cut(Links::isolate(ids[0], &ids));
        let mut standing = stage.install(&*fault)?;
        stage.seen(&mut standing).await?;
        stage.remove(standing)?;
    }
    stage.at_work("after partitions came and went").await
}

/// The clients do not reach the master, which goes on leading: what they sent is unknown to them.
pub(super) async fn clients_cut(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let fault = stage.machine.cut(Links::around(Party::Clients, &[Stage::id(leader)]));
    for_a_while(stage, &*fault).await
}

pub(super) async fn reset(stage: &mut Stage) -> Result<(), Trouble> {
    let leader = stage.leader().await?;
    let ids = stage.ids();
    let around = Links::around(Party::Node(Stage::id(leader)), &ids).and(Links::around(Party::Clients, &ids));
    let fault = stage.machine.reset(around);
    let mut standing = stage.install(&*fault)?;
    stage.seen(&mut standing).await?;
    stage.remove(standing)?;
    stage.at_work("after connections were reset").await
}

pub(super) async fn loss(stage: &mut Stage) -> Result<(), Trouble> {
    let percent = stage.rng.within(5..20) as u8;
    let fault = stage.machine.lose(all(stage), percent);
    for_a_while(stage, &*fault).await
}

pub(super) async fn delay(stage: &mut Stage) -> Result<(), Trouble> {
    let by = Duration::from_millis(stage.rng.within(5..60));
    let fault = stage.machine.delay(all(stage), by, by / 2);
    for_a_while(stage, &*fault).await
}

fn all(stage: &Stage) -> Links {
    Links::ring(&stage.ids(), 0)
}

fn towards(others: Vec<usize>, ends: impl Fn(Party) -> (Party, Party)) -> Links {
    others.into_iter().fold(Links::default(), |links, other| {
        let (from, to) = ends(Party::Node(Stage::id(other)));
        links.and(Links::one_way(from, to))
    })
}

/// The rest is a majority that can talk: another one has to lead, and to acknowledge.
async fn without_leader(stage: &mut Stage, leader: usize, links: Links, although: &str) -> Result<(), Trouble> {
    let fault = stage.machine.cut(links);
    let mut standing = stage.install(&*fault)?;
    stage.another_leads(leader, although).await?;
    stage.at_work(although).await?;
    stage.seen(&mut standing).await?;
    stage.hold().await;
    stage.remove(standing)?;
    stage.at_work("after a partition").await
}

/// The cluster has to acknowledge all the time.
async fn with_work(stage: &mut Stage, fault: &dyn Fault, although: &str) -> Result<(), Trouble> {
    let mut standing = stage.install(fault)?;
    stage.at_work(although).await?;
    stage.seen(&mut standing).await?;
    stage.hold().await;
    stage.remove(standing)?;
    stage.at_work("after the network healed").await
}

/// The cluster may stand still, but has to go on afterwards.
async fn for_a_while(stage: &mut Stage, fault: &dyn Fault) -> Result<(), Trouble> {
    let mut standing = stage.install(fault)?;
    stage.hold().await;
    stage.seen(&mut standing).await?;
    stage.remove(standing)?;
    stage.at_work("after the network healed").await
}
