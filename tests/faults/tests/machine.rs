//! Each injector on its own, against a trivial process: installed, seen to do something, removed, and nothing left.
//!
//! What the machine cannot do is printed as not run.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails a test")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dledger_faults::machine::{
    Capability, Damage, Error, Fault, Installed, Links, Machine, Options, Party, Region, Snapshot, helix, leftovers,
    sweep,
};
use node::{Asker, PROMPTLY, Process, ask, reaches};

#[path = "machine/node.rs"]
mod node;

use Party::{Clients, Node};

const DISK: u64 = 32 << 20;

/// Not a test: what the nodes run.
#[test]
#[ignore = "a process that other tests start"]
fn served() {
    node::serve();
}

/// A machine with its nodes running, as root's means allow and as they do not.
fn each_kind(nodes: u64, test: impl Fn(&Machine, &mut Vec<Process>) + Sync) {
    for privileged in [true, false] {
        let machine = Machine::new(Options { nodes, disk: DISK, privileged }).unwrap();
        if privileged && !machine.capabilities().has(Capability::Namespaces) {
            println!("not run with root's means:\n{}", machine.capabilities());
        }
        let name = machine.name().to_owned();
        let mut processes: Vec<Process> = machine.nodes().iter().map(Process::start).collect();
        machine.as_client(|| test(&machine, &mut processes)).unwrap();
        drop(processes);
        machine.close().unwrap();
        assert_eq!(leftovers(&name), Vec::<String>::new());
    }
    println!("so far {} faults installed, {} not run", RAN.load(Ordering::Relaxed), NOT_RUN.load(Ordering::Relaxed));
}

/// How many faults were installed, and how many could not be here.
static RAN: AtomicU32 = AtomicU32::new(0);
static NOT_RUN: AtomicU32 = AtomicU32::new(0);

/// Installs a fault; says why it cannot be here.
fn install(fault: Box<dyn Fault>) -> Option<Installed> {
    match fault.install() {
        Ok(installed) => {
            RAN.fetch_add(1, Ordering::Relaxed);
            Some(installed)
        }
        Err(error @ Error::NotHere { .. }) => {
            NOT_RUN.fetch_add(1, Ordering::Relaxed);
            println!("{}: {error}", fault.kind());
            None
        }
        Err(error) => panic!("{}: {error}", fault.kind()),
    }
}

/// What shows that the fault did something.
fn evidence(installed: &mut Installed) -> String {
    let seen = installed.observed().unwrap().expect("the fault did nothing");
    println!("{installed:?}");
    seen
}

#[test]
fn processes_are_killed_and_stopped() {
    each_kind(1, |machine, processes| {
        let address = machine.node(1).address();
        let mut connection = Asker::new(address, PROMPTLY).unwrap();
        let mut pause = install(machine.pause(1)).unwrap();
        assert!(evidence(&mut pause).contains(&processes[0].id().to_string()));
        let mut hung = Asker::new(address, Duration::from_millis(50)).unwrap();
        assert!(hung.ask("echo").is_err(), "a stopped process answers");
        pause.remove().unwrap();
        assert_eq!(connection.ask("echo").unwrap(), "echo");

        let mut kill = install(machine.kill(1)).unwrap();
        assert!(evidence(&mut kill).contains("ended by signal 9"));
        let status = processes[0].wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(machine.kill(1).install().is_err(), "who is dead is killed");
    });
}

#[test]
fn links_are_cut_one_way_and_both() {
    each_kind(3, |machine, _| {
        let all = |wanted: &[(u64, u64)]| {
            for from in 1..=3 {
                for to in (1..=3).filter(|to| *to != from) {
                    let cut = wanted.contains(&(from, to)) || wanted.contains(&(to, from));
                    assert_eq!(reaches(machine, from, to), !cut, "{from} to {to}");
                }
            }
        };
        all(&[]);
        let mut cut = install(machine.cut(Links::isolate(1, &[1, 2, 3]))).unwrap();
        all(&[(1, 2), (1, 3)]);
        evidence(&mut cut);
        cut.remove().unwrap();
        all(&[]);
        // One way: requests pass, answers do not.
        let mut before = Asker::new(machine.node(2).address(), Duration::from_millis(150)).unwrap();
        assert_eq!(before.ask("echo").unwrap(), "echo");
        let mut cut = install(machine.cut(Links::one_way(Node(2), Clients))).unwrap();
        assert!(before.ask("echo").is_err());
        evidence(&mut cut);
        assert!(reaches(machine, 1, 2), "another link is cut");
        drop(cut);
        assert!(reaches(machine, 1, 3));
        assert_eq!(ask(machine.node(2).address(), "echo", PROMPTLY).unwrap(), "echo");
    });
}

#[test]
fn connections_are_reset() {
    each_kind(1, |machine, _| {
        let address = machine.node(1).address();
        let mut connection = Asker::new(address, PROMPTLY).unwrap();
        assert_eq!(connection.ask("echo").unwrap(), "echo");
        let mut reset = install(machine.reset(Links::both_ways(Clients, Node(1)))).unwrap();
        let error = connection.ask("echo").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        evidence(&mut reset);
        assert!(ask(address, "echo", PROMPTLY).is_err(), "a connection can be made");
        reset.remove().unwrap();
        assert_eq!(ask(address, "echo", PROMPTLY).unwrap(), "echo");
    });
}

#[test]
fn packets_are_lost_and_delayed() {
    each_kind(1, |machine, _| {
        let address = machine.node(1).address();
        let mut connection = Asker::new(address, PROMPTLY).unwrap();
        let mut lose = install(machine.lose(Links::both_ways(Clients, Node(1)), 10)).unwrap();
        // A packet that is lost is sent again after 200 ms. Some 2000 packets at most: that none is lost is not to be
        // expected.
        let lost = (0..1000).any(|_| {
            let began = Instant::now();
            assert_eq!(connection.ask("echo").unwrap(), "echo");
            began.elapsed() >= Duration::from_millis(100) && lose.observed().unwrap().is_some()
        });
        assert!(lost);
        evidence(&mut lose);
        lose.remove().unwrap();

        let by = Duration::from_millis(40);
        let links = Links::one_way(Clients, Node(1));
        let Some(mut delay) = install(machine.delay(links, by, Duration::from_millis(10))) else { return };
        let began = Instant::now();
        (0..3).for_each(|_| assert_eq!(connection.ask("echo").unwrap(), "echo"));
        assert!(began.elapsed() >= by * 3, "{:?}", began.elapsed());
        evidence(&mut delay);
        delay.remove().unwrap();
        let fastest = (0..20).map(|_| {
            let began = Instant::now();
            connection.ask("echo").unwrap();
            began.elapsed()
        });
        assert!(fastest.min().unwrap() < by, "still delayed");
    });
}

#[test]
fn disks_are_slow_hung_and_full() {
    each_kind(1, |machine, _| {
        let node = machine.node(1);
        let file = node.dir().join("file");
        let sync = |bytes: usize| ask(node.address(), &format!("sync {} {bytes}", file.display()), PROMPTLY).unwrap();
        assert_eq!(sync(1 << 18), "synced");

        if let Some(mut slow) = install(machine.slow_disk(1, 1 << 20)) {
            let began = Instant::now();
            assert_eq!(sync(1 << 18), "synced");
            assert!(began.elapsed() > Duration::from_millis(120), "{:?}", began.elapsed());
            evidence(&mut slow);
            slow.remove().unwrap();
        }
        if let Some(mut hang) = install(machine.hang_disk(1)) {
            let mut connection = Asker::new(node.address(), Duration::from_millis(150)).unwrap();
            assert!(connection.ask(&format!("sync {} 4096", file.display())).is_err(), "a hung disk takes a write");
            evidence(&mut hang);
            hang.remove().unwrap();
            assert_eq!(sync(4096), "synced");
        }
        if let Some(mut full) = install(machine.fill_disk(1)) {
            assert!(sync(1 << 20).contains("No space left"));
            evidence(&mut full);
            full.remove().unwrap();
            assert_eq!(sync(1 << 20), "synced");
        }
    });
}

#[test]
fn syncs_fail_and_clocks_jump() {
    each_kind(1, |machine, _| {
        let node = machine.node(1);
        let tell = |line: &str| ask(node.address(), line, PROMPTLY).unwrap();
        let sync = format!("sync {} 10", node.dir().join("file").display());
        assert_eq!(tell(&sync), "synced");
        let Some(mut fail) = install(machine.fail_syncs(1)) else { return };
        assert!(fail.observed().unwrap().is_none(), "there is evidence before anything was synced");
        assert!(tell(&sync).contains("Input/output error"));
        assert!(evidence(&mut fail).starts_with("1 "));
        fail.remove().unwrap();
        assert_eq!(tell(&sync), "synced");

        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        for hour in [3600, -3600] {
            let mut shift = install(machine.shift_clock(1, hour)).unwrap();
            let off = tell("time").parse::<i64>().unwrap() - now();
            assert!((off - hour).abs() < 10, "{off}");
            evidence(&mut shift);
        }
        assert!((tell("time").parse::<i64>().unwrap() - now()).abs() < 10);
    });
}

#[test]
fn power_is_lost() {
    each_kind(2, |machine, processes| {
        let files: Vec<_> = machine.nodes().iter().map(|node| node.dir().join("file")).collect();
        for (node, file) in machine.nodes().iter().zip(&files) {
            let sync = format!("sync {} 10", file.display());
            assert_eq!(ask(node.address(), &sync, PROMPTLY).unwrap(), "synced");
            std::fs::File::open(node.dir()).unwrap().sync_all().unwrap();
            std::fs::write(node.dir().join("unsynced"), "lost").unwrap();
        }
        let Some(mut dark) = install(machine.lose_power(&[1, 2])) else { return };
        assert_eq!(machine.processes(1), Vec::<u32>::new());
        processes.iter_mut().for_each(|process| assert!(!process.wait().success()));
        evidence(&mut dark);
        dark.remove().unwrap();
        assert!(dark.observed().unwrap().unwrap().contains("what was not is gone, its name too"));
        for (node, file) in machine.nodes().iter().zip(&files) {
            assert_eq!(std::fs::read(file).unwrap(), [7; 10]);
            // The name may have gone along with another's sync; what was in it has not.
            assert_ne!(std::fs::read(node.dir().join("unsynced")).unwrap_or_default(), b"lost");
            // It lives again.
            let _process = Process::start(node);
            assert_eq!(ask(node.address(), "echo", PROMPTLY).unwrap(), "echo");
        }
    });
}

#[test]
fn a_disk_breaks_under_its_process() {
    each_kind(1, |machine, processes| {
        let node = machine.node(1);
        let sync = format!("sync {} 10", node.dir().join("file").display());
        let mut connection = Asker::new(node.address(), PROMPTLY).unwrap();
        assert_eq!(connection.ask(&sync).unwrap(), "synced");
        let Some(mut broken) = install(machine.break_disk(1)) else { return };
        assert!(connection.ask(&sync).unwrap().contains("Input/output error"));
        evidence(&mut broken);
        broken.remove().unwrap();
        assert!(!processes[0].wait().success());
        processes[0] = Process::start(node);
        assert_eq!(ask(node.address(), &sync, PROMPTLY).unwrap(), "synced");
    });
}

/// Not a test: a run that is killed in the middle of everything.
#[test]
#[ignore = "a process that another test starts and kills"]
fn left_behind() {
    let Ok(privileged) = std::env::var("LEAVE") else { return };
    let machine = Machine::new(Options { nodes: 2, disk: DISK, privileged: privileged == "true" }).unwrap();
    let _processes: Vec<Process> = machine.nodes().iter().map(Process::start).collect();
    let faults = [machine.pause(1), machine.cut(Links::around(Node(1), &[2])), machine.hang_disk(2)];
    let _installed: Vec<_> = faults.into_iter().map(|fault| fault.install().unwrap()).collect();
    println!("left behind by {}", machine.name());
    // Until it is killed; if nobody does, the end of its input ends it.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn what_a_killed_run_left_is_swept_up() {
    for privileged in ["true", "false"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["left_behind", "--exact", "--ignored", "--nocapture"]).env("LEAVE", privileged);
        let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map_while(Result::ok);
        let name = lines.find_map(|line| Some(line.split_once("left behind by ")?.1.to_owned())).unwrap();
        assert!(leftovers(&name).len() > 2, "{:?}", leftovers(&name));
        assert!(!sweep().contains(&name), "it lives");
        run.kill().unwrap();
        run.wait().unwrap();
        // Another test may be at it too.
        let mut left = leftovers(&name);
        for _ in 0..20 {
            if left.is_empty() {
                break;
            }
            sweep();
            left = leftovers(&name);
        }
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn files_are_damaged() {
    each_kind(2, |machine, processes| {
        let file = |id| machine.node(id).dir().join("segment");
        let bytes: Vec<u8> = (0..100).collect();
        (1..=2).for_each(|id| std::fs::write(file(id), &bytes).unwrap());
        let flip = || vec![Damage::Flip { file: file(1), offsets: vec![3, 50] }];
        assert!(machine.damage(flip()).install().is_err(), "files of a node that runs are damaged");
        processes.clear();
        let read = |id| std::fs::read(file(id)).unwrap();
        let differ = |id| read(id).iter().zip(&bytes).filter(|(a, b)| a != b).count();

        let old = Snapshot::of(file(1)).unwrap();
        let mut damage = install(machine.damage(flip())).unwrap();
        evidence(&mut damage);
        assert_eq!((differ(1), differ(2)), (2, 0));
        install(machine.damage(vec![Damage::Restore(old)])).unwrap();
        assert_eq!(read(1), bytes);
        assert!(machine.damage(vec![Damage::Scramble(Region { file: file(1), bytes: 100..110 })]).install().is_err());

        // Every region on exactly one node.
        install(machine.damage(helix(&[1, 2], &[0..10, 10..20, 20..30], file))).unwrap();
        assert_eq!((differ(1), differ(2)), (20, 10));
        assert!((0..30).all(|at| (read(1)[at] == bytes[at]) != (read(2)[at] == bytes[at])));

        install(machine.damage(vec![Damage::Truncate { file: file(1), length: 7 }])).unwrap();
        assert_eq!(read(1).len(), 7);
        install(machine.damage(vec![Damage::Delete { file: file(1) }])).unwrap();
        assert!(!file(1).exists());
    });
}
