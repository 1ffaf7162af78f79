//! What can go wrong with a simulated cluster, and what shows that it did.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::cluster::{SimCluster, group};
use super::network::{Noise, Traffic};
use dledger::seams::{Disk, Op, SimDisk};

/// A kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCall {
    /// Reading a file.
    Read,
    /// Writing one.
    Write,
    /// Syncing one.
    Sync,
}

/// What a disk has done so far, in all its lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskEvidence {
    /// Calls that failed because they were told to.
    pub failed: u64,
    /// Calls that found no room, or were told that hardly any is left.
    pub found_full: u64,
    /// Passes over what was to be synced that hung or were slow.
    pub held_up: u64,
    /// Blocks that power losses took.
    pub blocks_lost: u64,
    /// Blocks that were on the disk after a power loss although nothing had synced them.
    pub blocks_kept: u64,
}

/// What was on a disk.
#[derive(Debug, Clone)]
pub struct Backup(Vec<(PathBuf, Vec<u8>)>);

impl SimCluster {
    /// Has a later sync on node `i` fail, after `n` that succeed.
    pub fn fail_sync(&self, i: usize, n: u64) {
        self.note(&format!("fail sync {i} {n}"));
        self.nodes()[i].disk.fail_nth(Op::Sync, n, std::io::ErrorKind::Other);
    }

    /// The syncs of node `i` hang from now on, or go on. Votes are saved all the same.
    pub fn hang_syncs(&self, i: usize, hang: bool) {
        self.note(&format!("hang {i} {hang}"));
        self.nodes()[i].pace.hang(hang);
    }

    /// Has a later creation of a file on node `i` find the disk full, after `n` that succeed.
    pub fn fill_disk(&self, i: usize, n: u64) {
        self.note(&format!("fill disk {i} {n}"));
        self.nodes()[i].disk.fail_nth(Op::Create, n, std::io::ErrorKind::StorageFull);
    }

    /// Sets how many bytes the files of node `i` may have in all; `None`: any number.
    pub fn set_capacity(&self, i: usize, bytes: Option<u64>) {
        self.note(&format!("capacity {i} {bytes:?}"));
        self.nodes()[i].disk.set_capacity(bytes);
    }

    /// Bytes that the files of node `i` have.
    pub fn used(&self, i: usize) -> u64 {
        self.nodes()[i].disk.used()
    }

    /// The bytes of the segment files of node `i`, by position.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn segments(&self, i: usize) -> BTreeMap<u64, Vec<u8>> {
        let node = &self.nodes()[i];
        let dir = node.config.data_dir.join(group().as_str());
        let names = node.disk.list(&dir).expect("a directory");
        let positions = names.into_iter().filter(|name| name.len() == 20);
        let read = |name: String| {
            let bytes = node.disk.read(&dir.join(&name)).expect("a segment");
            (name.parse().expect("a position"), bytes)
        };
        positions.map(read).collect()
    }

    /// Bits rot on the disk of node `i`, which is down, at a position of its ledger.
    ///
    /// # Panics
    /// If no segment is there.
    pub fn rot(&self, i: usize, position: u64) {
        let (path, range) = self.place(i, position..position + 1);
        let file = self.nodes()[i].disk.open(&path).expect("a segment");
        let mut byte = [0];
        file.read_at(&mut byte, range.start).expect("a byte");
        file.write_at(&[byte[0] ^ 0x40], range.start).and_then(|()| file.sync()).expect("a disk that works");
    }

    /// All files of node `i`, which is down.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn backup(&self, i: usize) -> Backup {
        let node = &self.nodes()[i];
        let dir = node.config.data_dir.join(group().as_str());
        let names = node.disk.list(&dir).expect("a directory");
        let read = |name: String| {
            let file = dir.join(name);
            let bytes = node.disk.read(&file).expect("a file");
            (file, bytes)
        };
        Backup(names.into_iter().map(read).collect())
    }

    /// Node `i`, which is down, has a disk with the files of a backup and no others.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn restore(&self, i: usize, backup: &Backup) {
        self.note(&format!("restore {i}"));
        let node = &mut self.nodes()[i];
        node.disk = SimDisk::new();
        node.disk.create_dir(&node.config.data_dir.join(group().as_str())).expect("a directory");
        for (file, bytes) in &backup.0 {
            node.disk.write_atomic(file, bytes).expect("a disk that works");
        }
    }

    /// No disk fails any more.
    pub fn mend_disks(&self) {
        self.nodes().iter().for_each(|node| node.disk.mend());
    }

    /// Messages from `from` to `to` are lost from now on.
    pub fn cut(&self, from: usize, to: usize) {
        let nodes = self.nodes();
        self.network().cut(&nodes[from].address, &nodes[to].address);
    }

    /// Cuts node `i` off from all others, both ways.
    pub fn isolate(&self, i: usize) {
        for other in (0..self.size()).filter(|other| *other != i) {
            self.cut(i, other);
            self.cut(other, i);
        }
    }

    /// Messages from node `from` to node `to` take so much longer from now on.
    pub fn delay(&self, from: usize, to: usize, by: Duration) {
        let nodes = self.nodes();
        self.network().delay(&nodes[from].address, &nodes[to].address, by);
    }

    /// Every message between two nodes takes so much longer from now on.
    pub fn all_apart(&self, by: Duration) {
        for i in 0..self.size() {
            (0..self.size()).filter(|other| *other != i).for_each(|other| self.delay(i, other, by));
        }
    }

    /// A firewall resets the connections of node `i` and refuses new ones: to the others it seems dead.
    pub fn shun(&self, i: usize) {
        self.network().shun(&self.nodes()[i].address);
    }

    /// Mends all links and loses no message any more.
    pub fn heal(&self) {
        self.network().heal();
        self.network().disturb(|noise| *noise = Noise::default());
    }

    /// Loses `per_mille` of 1000 messages from now on.
    pub fn lose(&self, per_mille: u64) {
        self.disturb(|noise| noise.loss = per_mille);
    }

    /// Has a later call on node `i` fail, after `n` that succeed. Forgotten when this life of its machine ends.
    pub fn fail_call(&self, i: usize, call: DiskCall, n: u64) {
        self.note(&format!("fail {call:?} {i} {n}"));
        let op = match call {
            DiskCall::Read => Op::Read,
            DiskCall::Write => Op::Write,
            DiskCall::Sync => Op::Sync,
        };
        self.nodes()[i].disk.fail_nth(op, n, io::ErrorKind::Other);
    }

    /// No call fails any more on node `i`.
    pub fn mend_disk(&self, i: usize) {
        self.nodes()[i].disk.mend();
    }

    /// What the disk of node `i` has done so far.
    pub fn disk_evidence(&self, i: usize) -> DiskEvidence {
        let node = &self.nodes()[i];
        let (blocks_lost, blocks_kept) = node.disk.loss();
        DiskEvidence {
            failed: node.disk.fired(),
            found_full: node.disk.found_full(),
            held_up: node.pace.held_up(),
            blocks_lost,
            blocks_kept,
        }
    }

    /// Every flush pass of node `i` takes so much longer from now on, and every save of a vote.
    pub fn slow_syncs(&self, i: usize, more: Duration) {
        self.note(&format!("slow {i} {more:?}"));
        self.nodes()[i].pace.slow_down(more);
    }

    /// Sets the wall clock of node `i` forward or back. Its monotonic clock goes on as if nothing had happened.
    pub fn jump(&self, i: usize, milliseconds: i64) {
        self.note(&format!("jump {i} {milliseconds}"));
        self.nodes()[i].clock.jump(milliseconds);
    }

    /// How often node `i` has looked at its wall clock.
    pub fn clock_reads(&self, i: usize) -> u64 {
        self.nodes()[i].clock.reads()
    }

    /// Messages from `from` to `to` arrive again, if they were cut as often as they are mended.
    pub fn mend_link(&self, from: usize, to: usize) {
        self.network().mend(&self.address(from), &self.address(to));
    }

    /// Messages from `from` to `to` that were lost so far because the link was cut.
    pub fn lost_on(&self, from: usize, to: usize) -> u64 {
        self.network().lost_on(&self.address(from), &self.address(to))
    }

    /// What goes wrong with messages by chance from now on.
    pub fn disturb(&self, change: impl FnOnce(&mut Noise)) {
        self.network().disturb(change);
        self.note("disturb");
    }

    /// What became of messages so far.
    pub fn traffic(&self) -> Traffic {
        self.network().traffic()
    }
}
