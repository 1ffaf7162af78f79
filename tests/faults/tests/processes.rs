//! Real processes under faults: what `cargo test` runs of them, and that what is wrong is said to be.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use dledger_faults::machine::Links;
use dledger_faults::runner::{self, Job, Profile};
use dledger_faults::scenario::{self, Outcome, Plan, Scenario, Stage, Trouble, Verdict};
use dledger_faults::workload::Load;
use dledger_history::{Acked, Answer, Call, Hash};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::watch;

/// Three nodes and their clients are enough for two processors.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
}

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_dledger-under-test").into()
}

fn kept(out: &TempDir, what: &str) -> String {
    let from = out.path().display();
    let to = std::env::temp_dir().join(format!("dledger-faults-{}", std::process::id()));
    match std::process::Command::new("cp").arg("-r").arg(out.path()).arg(&to).status() {
        Ok(status) if status.success() => format!("{what}; kept in {}", to.display()),
        _ => format!("{what}; {from} could not be kept"),
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_to_the_processes() {
    let _alone = alone();
    let out = TempDir::new().unwrap();
    let job = Job {
        profile: Profile::Ci,
        seed: 1,
        minutes: 0,
        only: Vec::new(),
        // They have tests of their own.
        seeds: Some(0),
        out: out.path().to_owned(),
        binary: binary(),
        keep: false,
    };
    let (_stop, stopped) = watch::channel(false);
    let summary = runner::run(&job, &stopped).unwrap();
    println!("{summary}");
    assert_eq!(summary.exit_code(), 0, "{}", kept(&out, "a scenario did not pass"));
    assert!(summary.count(Verdict::Pass) > 0, "nothing could be run");
    assert!(out.path().join("report.html").is_file() && out.path().join("summary.json").is_file());
}

fn planted(name: &'static str, act: scenario::Act) -> &'static Scenario {
    let load = || Load { appenders: 1, batchers: 0, sessions: 1, readers: 1, ..Load::default() };
    let options = &["--segment-size", "16MiB"];
    Box::leak(Box::new(Scenario { name, about: "", voters: 3, spare: 0, options, retention: false, load, act }))
}

fn run(out: &Path, name: &'static str, act: scenario::Act) -> Outcome {
    let plan = Plan {
        scenario: planted(name, act),
        seed: 1,
        hold: Duration::from_millis(100),
        rounds: 1,
        binary: binary(),
        out: out.to_owned(),
        replay: String::new(),
    };
    let (_stop, stopped) = watch::channel(false);
    scenario::run(&plan, &stopped)
}

/// An ack of a record that is not in the log: as if it had been lost.
async fn lies(stage: &mut Stage) -> Result<(), Trouble> {
    let recorder = stage.progress().recorder();
    let records = vec![Hash::of(b"never appended")];
    let op = recorder.invoke(4242, Call::Append { records, session: None });
    recorder.ok(op, Answer::Acked { acks: vec![Acked { index: 3, position: 64, term: 1 }] });
    Ok(())
}

async fn no_fault(stage: &mut Stage) -> Result<(), Trouble> {
    stage.at_work("without a fault").await
}

/// A cut that drops nothing, whatever else is said of it.
async fn cuts_nothing(stage: &mut Stage) -> Result<(), Trouble> {
    let cut = stage.machine.cut(Links::default());
    let standing = stage.install(&*cut)?;
    stage.see(&standing, "another one leads");
    stage.remove(standing)
}

async fn does_nothing(stage: &mut Stage) -> Result<(), Trouble> {
    let standing = stage.begin("nothing", &[0], "it says so");
    stage.end(&standing, "it says so");
    Ok(())
}

/// Behind the back of the test: as if the node had crashed.
async fn crashes(stage: &mut Stage) -> Result<(), Trouble> {
    stage.node(0).signal(Signal::ABORT).await?;
    stage.at_work("after one crashed").await
}

#[test]
fn what_is_wrong_is_said_to_be() {
    let _alone = alone();
    let out = TempDir::new().unwrap();
    let lost = run(out.path(), "lies", |stage| Box::pin(lies(stage)));
    assert_eq!(lost.verdict, Verdict::Fail, "{:?}", lost.reasons);
    assert!(lost.reasons.iter().any(|reason| reason.starts_with("acked:")), "{:?}", lost.reasons);
    assert!(lost.history.is_some_and(|history| history.is_file()), "the history of a failure is kept");

    let nothing = run(out.path(), "does-nothing", |stage| Box::pin(does_nothing(stage)));
    assert_eq!(nothing.verdict, Verdict::Invalid, "{:?}", nothing.reasons);
    assert!(nothing.reasons.iter().any(|reason| reason.contains("never observed")), "{:?}", nothing.reasons);

    let none = run(out.path(), "no-fault", |stage| Box::pin(no_fault(stage)));
    assert_eq!(none.verdict, Verdict::Invalid, "{:?}", none.reasons);
    assert_eq!(none.reasons, ["no fault was there"]);

    let cut = run(out.path(), "cuts-nothing", |stage| Box::pin(cuts_nothing(stage)));
    assert_eq!(cut.verdict, Verdict::Invalid, "{:?}", cut.reasons);
    assert!(cut.reasons.iter().any(|reason| reason.contains("never observed")), "{:?}", cut.reasons);

    let crashed = run(out.path(), "crashes", |stage| Box::pin(crashes(stage)));
    assert_eq!(crashed.verdict, Verdict::Fail, "{:?}", crashed.reasons);
    assert!(crashed.reasons.iter().any(|reason| reason.contains("ended by signal 6")), "{:?}", crashed.reasons);
}
