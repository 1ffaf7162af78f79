//! The laws as property tests: arbitrary bytes, and good bytes with random damage.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::{TARGETS, Target};

/// One thing done to good bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    /// A byte becomes another one: lengths like extremes.
    Set(Index, u8),
    /// A whole field does.
    Field(Index, u64),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    /// A run of bytes once more, somewhere.
    Duplicate(Index, Index, usize),
    Truncate(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let field =
        prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX / 2), Just(u64::from(u32::MAX)), any::<u64>()];
    let byte = prop_oneof![Just(0), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        3 => (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Set(at, byte)),
        3 => (any::<Index>(), field).prop_map(|(at, field)| Damage::Field(at, field)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (any::<Index>(), 1..100usize).prop_map(|(at, count)| Damage::Delete(at, count)),
        1 => (any::<Index>(), any::<Index>(), 1..200usize).prop_map(|(from, to, n)| Damage::Duplicate(from, to, n)),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let size = bytes.len();
        if size == 0 {
            return;
        }
        match self {
            Self::Flip(at, bit) => bytes[at.index(size)] ^= 1 << bit,
            Self::Set(at, byte) => bytes[at.index(size)] = *byte,
            Self::Field(at, field) => {
                // Fields lie at multiples of four.
                let at = at.index(size) & !3;
                let field = field.to_le_bytes();
                bytes.iter_mut().skip(at).zip(field).for_each(|(byte, new)| *byte = new);
            }
            Self::Insert(at, new) => drop(bytes.splice(at.index(size)..at.index(size), new.iter().copied())),
            Self::Delete(at, count) => drop(bytes.drain(at.index(size)..(at.index(size) + count).min(size))),
            Self::Duplicate(from, to, count) => {
                let copy = bytes[from.index(size)..(from.index(size) + count).min(size)].to_vec();
                drop(bytes.splice(to.index(size)..to.index(size), copy));
            }
            Self::Truncate(at) => bytes.truncate(at.index(size)),
        }
    }
}

/// So many cases of each kind; a directory takes longer than a header.
fn cases(target: &Target) -> u32 {
    match target.name {
        "directory" => 500,
        "segment" => 2000,
        _ => 2000,
    }
}

/// Runs the target on what `input` makes.
fn run<S: Strategy>(target: &Target, strategy: S, input: impl Fn(S::Value) -> Vec<u8>) {
    // A runner counts its cases over all its runs.
    let cases = cases(target);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let ran = Cell::new(0);
    let verdict = runner.run(&strategy, |value| {
        (target.body)(&input(value));
        ran.set(ran.get() + 1);
        Ok(())
    });
    assert!(verdict.is_ok(), "{}: {}", target.name, verdict.unwrap_err());
    assert_eq!(ran.get(), cases, "{}", target.name);
}

fn holds(target: &Target) {
    run(target, vec(any::<u8>(), 0..400), |bytes| bytes);
    let good = (target.seeds)();
    // Much of a large file is zeros: what is in front is hit more often.
    run(target, (any::<Index>(), vec(damage(), 1..6), any::<bool>()), |(which, damage, in_front)| {
        let mut bytes = good[which.index(good.len())].clone();
        let rest = if in_front { bytes.split_off(bytes.len().min(700)) } else { Vec::new() };
        damage.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes.extend(rest);
        bytes
    });
}

macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        /// One test per target, so that they run side by side and each failure has its name.
        mod laws_of {
            $(#[test] fn $name() { super::holds(&super::target(stringify!($name))); })*
        }
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

laws![
    entry,
    batch,
    frame,
    segment_header,
    blank,
    index,
    vote_slot,
    commit_slot,
    identity,
    start,
    segment,
    directory,
    vote_request,
    vote_response,
    append_request,
    append_response,
    heartbeats_request,
    heartbeats_response,
    transfer_request,
    transfer_response,
    read_index_request,
    read_index_response,
    membership,
    snapshot,
    refusal,
    failure,
    record,
    status,
];

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("{name} is no target"))
}

fn crate_file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_target_is_tested_and_is_one_of_the_fuzzer() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED.iter().copied().collect());
    // The packaged crate has none of it.
    let Ok(manifest) = std::fs::read_to_string(crate_file("tests/fuzz/Cargo.toml")) else { return };
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "tests/fuzz/Cargo.toml does not name {name}");
        let file = std::fs::read_to_string(crate_file(&format!("tests/fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("dledger::seams::laws::{name}(bytes)")), "{name}.rs feeds another target");
    }
}

/// Most damage is refused early. That good bytes are good is what makes the rest of it reach anything.
#[test]
fn good_bytes_keep_the_laws() {
    for target in TARGETS {
        (target.seeds)().iter().for_each(|bytes| (target.body)(bytes));
    }
}

/// Gives the fuzzer what to begin with: `cargo test --lib seeds_for_the_fuzzer -- --ignored`.
#[test]
#[ignore = "writes files that are not checked in"]
fn seeds_for_the_fuzzer() {
    for target in TARGETS {
        let dir = crate_file("tests/fuzz/corpus").join(target.name);
        std::fs::create_dir_all(&dir).unwrap();
        for (number, bytes) in (target.seeds)().iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number:02}")), bytes).unwrap();
        }
    }
}
