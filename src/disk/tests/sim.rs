//! The laws of the simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::sim::{Kept, Op, PAGE, Rng, SimDisk};
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
    one.write(10, b"mapped").unwrap();
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
        file.map().unwrap().write(0, &[1; 2 * PAGE]).unwrap();
        file.sync().unwrap();
    };
    assert_eq!(crashes(prepare, bytes), [vec![1; 2 * PAGE]]);
}

#[test]
fn what_was_not_synced_survives_by_chance_in_any_order_and_torn_between_blocks() {
    let prepare = |disk: &SimDisk| file(disk).map().unwrap().write(0, &[1; 2 * PAGE]).unwrap();
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
    file.map().unwrap().write(0, b"live").unwrap();
    disk.create(&path("new"), 1).unwrap();
    let next = disk.kill().unwrap();
    assert_eq!(&bytes(&next)[..4], b"live");
    assert_eq!(next.list(Path::new(DIR)).unwrap(), ["f", "new"]);
    let last = crashes(
        |disk| {
            self::file(disk).map().unwrap().write(0, b"live").unwrap();
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
        mapping.write(0, b"ghost").unwrap();
        assert!(file.write_at(b"ghost", 0).is_err());
        assert!(file.sync().is_err() && old.sync_dir(Path::new(DIR)).is_err() && old.remove(&path("f")).is_err());
        assert_eq!(bytes(&new), vec![0; 2 * PAGE]);
    }
}

#[test]
fn a_reopened_file_can_be_written_where_it_was_frozen_before() {
    let disk = disk();
    let mapping = file(&disk).map().unwrap();
    mapping.write(0, b"old").unwrap();
    mapping.freeze(3);
    let slice = mapping.slice(0..3).unwrap();
    let shared = disk.open(&path("f")).unwrap();
    assert_eq!(shared.map().unwrap().frozen(), 3, "still in use");
    shared.write_at(b"old", 0).unwrap();
    drop(shared);
    drop((mapping, slice));
    let again = disk.open(&path("f")).unwrap().map().unwrap();
    again.write(0, b"new").unwrap();
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

/// What a process sees is not what the disk has; what is done to a name once more is in the next sync.
#[test]
fn a_failed_sync_of_a_directory_loses_the_changes_of_its_names() {
    let changes = |disk: &SimDisk| {
        file(disk);
        disk.create(&path("new"), 1).unwrap();
        disk.remove(&path("f")).unwrap();
        disk.fail_nth(Op::SyncDir, 0, io::ErrorKind::Other);
        disk.sync_dir(Path::new(DIR)).unwrap_err();
        disk.sync_dir(Path::new(DIR)).unwrap();
    };
    let names = |disk: &SimDisk| disk.list(Path::new(DIR)).unwrap().join(" ");
    let disk = disk();
    changes(&disk);
    assert_eq!(names(&disk), "new");
    assert_eq!(crashes(changes, names), ["f"]);
    let again = |disk: &SimDisk| {
        changes(disk);
        disk.rename(&path("new"), &path("again")).unwrap();
        disk.rename(&path("again"), &path("new")).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
    };
    assert_eq!(crashes(again, names), ["f new"]);
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

const NOTHING: Kept<'_> = Kept::These { names: 0, blocks: 0 };

#[test]
fn when_the_power_goes_between_two_steps_only_what_came_before_is_there() {
    let history = |disk: &SimDisk| -> io::Result<()> {
        let file = disk.create(&path("f"), PAGE as u64)?; // two steps
        disk.sync_dir(Path::new(DIR))?;
        let mapping = file.map()?;
        mapping.write(0, b"one").unwrap();
        file.sync()?;
        mapping.write(0, b"two").unwrap();
        file.write_at(b"more", 600)?;
        file.sync()?;
        disk.remove(&path("f"))
    };
    let all = disk();
    history(&all).unwrap();
    assert_eq!(all.steps(), 9);
    let left = |after: u64| {
        let disk = disk();
        disk.lose_power_after(after);
        let ended = history(&disk);
        assert_eq!((ended.is_ok(), disk.is_on()), (after == 9, after == 9), "{after}");
        let image = disk.image(NOTHING);
        image.read(&path("f")).map(|bytes| (bytes.len(), bytes[..3].to_vec(), bytes[600..604].to_vec())).ok()
    };
    let (zeros, none) = (vec![0; 3], vec![0; 4]);
    assert_eq!([left(0), left(2)], [None, None], "the name is not synced");
    for after in [3, 4] {
        assert_eq!(left(after), Some((PAGE, zeros.clone(), none.clone())), "{after}");
    }
    for after in [5, 6, 7] {
        assert_eq!(left(after), Some((PAGE, b"one".to_vec(), none.clone())), "{after}");
    }
    for after in [8, 9] {
        assert_eq!(left(after), Some((PAGE, b"two".to_vec(), b"more".to_vec())), "{after}");
    }
}

#[test]
fn what_is_written_after_the_power_has_gone_is_nowhere() {
    let disk = disk();
    let mapping = file(&disk).map().unwrap();
    mapping.write(0, b"before").unwrap();
    disk.lose_power_after(0);
    assert!(disk.is_on(), "until the next step the process can say what it knows");
    mapping.write(0, b"behind").unwrap();
    assert!(!disk.is_on() && disk.read(&path("f")).is_err());
    let image = disk.image(Kept::These { names: usize::MAX, blocks: u64::MAX });
    assert_eq!(&bytes(&image)[..6], b"before");
    assert_eq!(&bytes(&disk.kill().unwrap())[..6], b"before");
}

#[test]
fn every_subset_of_a_few_blocks_and_every_prefix_of_names_is_an_image() {
    let disk = disk();
    let file = file(&disk);
    for block in [0, 3, 9] {
        file.write_at(b"x", block * 512).unwrap();
    }
    disk.create(&path("g"), 1).unwrap();
    let images = disk.every_image(24).unwrap();
    assert_eq!(images.len(), 24, "2³ subsets; neither, an empty or a whole g");
    let mut seen: Vec<_> =
        images.into_iter().map(|kept| disk.image(kept)).map(|i| (bytes(&i), i.read(&path("g")).ok())).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 24);
    assert!(disk.every_image(23).is_none());
    assert_eq!(bytes(&disk).iter().filter(|byte| **byte == b'x').count(), 3, "the disk lives on");
}

#[test]
fn a_short_write_leaves_whole_blocks_of_its_beginning() {
    let disk = disk();
    let file = file(&disk);
    disk.short_write(Op::Write, 1, io::ErrorKind::StorageFull, 500);
    file.write_at(b"whole", 0).unwrap();
    assert_eq!(file.write_at(&[7; 2000], 100).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((&bytes(&disk)[..5], &bytes(&disk)[100..1024]), (&b"whole"[..], &[7; 924][..]));
    assert_eq!(bytes(&disk)[1024..2100], [0; 1076]);
    disk.short_write(Op::Write, 0, io::ErrorKind::Other, 900);
    file.write_at(b"all or nothing", 10).unwrap_err();
    assert_eq!(bytes(&disk)[10..24], [0; 14]);

    disk.short_write(Op::WriteAtomic, 0, io::ErrorKind::Other, 500);
    disk.write_atomic(&path("small"), b"12345678").unwrap_err();
    assert_eq!(disk.read(&path("small")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.read(&path("small.tmp")).unwrap(), b"1234");
    assert_eq!(disk.failures(), 3);
}

#[test]
fn an_atomic_write_is_the_old_one_or_the_new_one_after_any_step() {
    for after in 0..8 {
        let disk = disk();
        disk.lose_power_after(after);
        let done = disk.write_atomic(&path("f"), b"old").and_then(|()| disk.write_atomic(&path("f"), b"new"));
        assert_eq!(done.is_ok(), after >= 8);
        let mut seen: Vec<_> = (0..64)
            .map(|seed| disk.image(Kept::Chance(&mut Rng::new(seed))))
            .map(|i| i.read(&path("f")).ok())
            .collect();
        seen.sort();
        seen.dedup();
        let (none, old, new) = (None, Some(b"old".to_vec()), Some(b"new".to_vec()));
        let expected = match after {
            0..3 => vec![none],
            3 => vec![none, old],
            4..7 => vec![old],
            _ => vec![new, old],
        };
        assert_eq!(seen, expected, "after {after} steps");
    }
}

#[test]
fn what_the_system_writes_back_by_itself_is_on_the_disk_and_may_be_overtaken() {
    let seen = |blocks| {
        let written_back = |seed| {
            let disk = disk();
            let file = file(&disk);
            file.write_at(b"1", 0).unwrap();
            disk.write_back(&mut Rng::new(seed));
            file.write_at(b"2", 0).unwrap();
            bytes(&disk.image(Kept::These { names: 0, blocks }))[0]
        };
        let mut seen: Vec<_> = (0..16).map(written_back).collect();
        seen.sort();
        seen.dedup();
        seen
    };
    assert_eq!((seen(0), seen(1)), (vec![0, b'1'], vec![b'2']));
}

#[test]
fn a_file_without_a_name_keeps_its_blocks_while_it_is_open_or_mapped() {
    let disk = disk();
    let open = file(&disk);
    let (mapped, all) = (open.map().unwrap(), 2 * PAGE as u64);
    disk.remove(&path("f")).unwrap();
    assert_eq!(disk.used(), all);
    drop(open);
    assert_eq!(disk.used(), all, "it is mapped");
    drop(mapped);
    assert_eq!(disk.used(), 0);
    // One that loses its name to another.
    let old = file(&disk);
    disk.create(&path("g"), PAGE as u64).unwrap();
    disk.rename(&path("g"), &path("f")).unwrap();
    assert_eq!(disk.used(), all + PAGE as u64);
    drop(old);
    assert_eq!(disk.used(), PAGE as u64);
    // The next process has nothing open.
    let _still_open = disk.open(&path("f")).unwrap();
    disk.remove(&path("f")).unwrap();
    assert_eq!(disk.kill().unwrap().used(), 0);
}
