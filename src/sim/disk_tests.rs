//! The laws of the simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Op, SimDisk};
use super::file::PAGE;
use super::rng::Rng;
use crate::disk::{Disk, DiskFile};

const DIR: &str = "/data";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk
}

/// A file of two pages whose name is durable.
fn file(disk: &SimDisk) -> Arc<dyn DiskFile> {
    let file = disk.create(&path("f"), 2 * PAGE as u64).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    file
}

fn bytes(disk: &SimDisk) -> Vec<u8> {
    disk.read(&path("f")).unwrap()
}

/// What `look` sees after a power loss of what `prepare` did, over many seeds.
fn crashes<T: Ord>(prepare: impl Fn(&SimDisk), look: impl Fn(&SimDisk) -> T) -> Vec<T> {
    let crash = |seed| {
        let disk = disk();
        prepare(&disk);
        look(&disk.crash(&mut Rng::new(seed)).unwrap())
    };
    let mut seen: Vec<_> = (0..64).map(crash).collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn mapping_and_file_share_their_bytes() {
    let disk = disk();
    let file = file(&disk);
    let (one, two) = (file.map().unwrap(), disk.open(&path("f")).unwrap().map().unwrap());
    one.write(10, b"mapped");
    file.write_at(b"written", 5000).unwrap();
    let mut buffer = [0; 6];
    file.read_at(&mut buffer, 10).unwrap();
    assert_eq!(&buffer, b"mapped");
    assert_eq!(two.copy(5000..5007), b"written");
    assert_eq!(&bytes(&disk)[10..16], b"mapped");
    assert_eq!(file.read_at(&mut [0; 2], 2 * PAGE as u64 - 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_was_synced_survives_a_power_loss() {
    let prepare = |disk: &SimDisk| {
        let file = file(disk);
        file.map().unwrap().write(0, &[1; 2 * PAGE]);
        file.sync().unwrap();
    };
    assert_eq!(crashes(prepare, bytes), [vec![1; 2 * PAGE]]);
}

#[test]
fn what_was_not_synced_survives_by_chance_in_any_order_and_torn_between_blocks() {
    let prepare = |disk: &SimDisk| file(disk).map().unwrap().write(0, &[1; 2 * PAGE]);
    let images = crashes(prepare, bytes);
    let whole = |first: u8, second: u8| [[first; PAGE], [second; PAGE]].concat();
    for image in [whole(0, 0), whole(0, 1), whole(1, 0), whole(1, 1)] {
        assert!(images.contains(&image), "of two pages any may be lost");
    }
    assert!(images.len() > 4, "a page may be torn");
    for block in images.iter().flat_map(|image| image.chunks(512)) {
        assert!(block.iter().all(|byte| *byte == block[0]), "a block is never torn");
    }
}

#[test]
fn names_survive_a_power_loss_once_their_directory_is_synced() {
    let changes = |disk: &SimDisk| {
        file(disk);
        disk.create(&path("new"), 1).unwrap();
        disk.rename(&path("f"), &path("g")).unwrap();
        disk.remove(&path("new")).unwrap();
    };
    let names = |disk: &SimDisk| disk.list(Path::new(DIR)).unwrap().join(" ");
    assert_eq!(crashes(changes, names), ["f", "f new", "g", "g new"], "a prefix of the changes");
    let synced = |disk: &SimDisk| {
        changes(disk);
        disk.sync_dir(Path::new(DIR)).unwrap();
    };
    assert_eq!(crashes(synced, names), ["g"]);
}

#[test]
fn an_atomic_write_is_durable_at_once() {
    let prepare = |disk: &SimDisk| {
        disk.write_atomic(&path("f"), b"one").unwrap();
        disk.write_atomic(&path("f"), b"two").unwrap();
    };
    assert_eq!(crashes(prepare, bytes), [b"two".to_vec()]);
}

#[test]
fn a_killed_process_loses_nothing_until_the_power_goes_too() {
    let disk = disk();
    let file = file(&disk);
    file.map().unwrap().write(0, b"live");
    disk.create(&path("new"), 1).unwrap();
    let next = disk.kill().unwrap();
    assert_eq!(&bytes(&next)[..4], b"live");
    assert_eq!(next.list(Path::new(DIR)).unwrap(), ["f", "new"]);
    let last = crashes(
        |disk| {
            self::file(disk).map().unwrap().write(0, b"live");
            disk.kill().unwrap();
        },
        |disk| disk.read(&path("f")).unwrap()[..4].to_vec(),
    );
    assert_eq!(last, [b"\0\0\0\0".to_vec(), b"live".to_vec()]);
}

#[test]
fn the_dead_reach_nothing() {
    for kill in [true, false] {
        let old = disk();
        let (file, lock) = (file(&old), old.lock(&path("lock")).unwrap());
        let mapping = file.map().unwrap();
        file.sync().unwrap();
        let new = if kill { old.kill().unwrap() } else { old.crash(&mut Rng::new(1)).unwrap() };
        let locked = new.lock(&path("lock")).unwrap();
        drop(lock);
        assert_eq!(new.lock(&path("lock")).map(drop).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(locked);
        mapping.write(0, b"ghost");
        assert!(file.write_at(b"ghost", 0).is_err());
        assert!(file.sync().is_err() && old.sync_dir(Path::new(DIR)).is_err() && old.remove(&path("f")).is_err());
        assert_eq!(bytes(&new), vec![0; 2 * PAGE]);
    }
}

#[test]
fn a_reopened_file_can_be_written_where_it_was_frozen_before() {
    let disk = disk();
    let mapping = file(&disk).map().unwrap();
    mapping.write(0, b"old");
    mapping.freeze(3);
    let slice = mapping.slice(0..3).unwrap();
    let shared = disk.open(&path("f")).unwrap();
    assert_eq!(shared.map().unwrap().frozen(), 3, "still in use");
    shared.write_at(b"old", 0).unwrap();
    drop(shared);
    drop((mapping, slice));
    let again = disk.open(&path("f")).unwrap().map().unwrap();
    again.write(0, b"new");
    assert_eq!(&bytes(&disk)[..3], b"new");
}

#[test]
fn the_nth_call_fails_once_and_a_failed_sync_loses_what_it_was_to_save() {
    let disk = disk();
    disk.fail_nth(Op::Create, 1, io::ErrorKind::StorageFull);
    let file = file(&disk);
    let full = disk.create(&path("g"), 1).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    disk.create(&path("g"), 1).unwrap();

    file.write_at(&[1; PAGE], 0).unwrap();
    disk.fail_nth(Op::Sync, 0, io::ErrorKind::Other);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(bytes(&disk)[0], 1, "the page cache still has it");
    assert_eq!(bytes(&disk.crash(&mut Rng::new(1)).unwrap())[0], 0, "the disk never got it");
}

#[test]
fn a_seed_determines_what_a_crash_leaves() {
    let image = |seed| {
        let disk = disk();
        let file = disk.create(&path("f"), 64 * PAGE as u64).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(&[1; 64 * PAGE], 0).unwrap();
        bytes(&disk.crash(&mut Rng::new(seed)).unwrap())
    };
    assert_eq!(image(7), image(7));
    assert_ne!(image(7), image(9));
}
