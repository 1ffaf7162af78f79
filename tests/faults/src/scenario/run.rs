//! One scenario from the machine to the verdict.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dledger_history::{Begin, FORMAT, History, Judge, Recorder, What};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Outcome, Scenario, Stage, Trouble, Verdict};
use crate::cluster::{Cluster, Place, Settings};
use crate::machine::{Machine, Options};
use crate::rng::Rng;
use crate::workload::{Figures, Workload};

/// Within this time nodes that were started form a cluster.
const FORM: Duration = Duration::from_secs(60);
/// Acks before the first fault.
const WARM: u64 = 100;
/// Within this time all replicas hold the same, once nothing disturbs them any more.
const AGREE: Duration = Duration::from_secs(90);
/// Longest that a scenario may take. Everything in it is bounded; all together is less.
const LONGEST: Duration = Duration::from_secs(1200);
/// Reasons of one kind that are told; the history has all.
const TOLD: usize = 8;

/// What is to be run.
#[derive(Clone)]
pub struct Plan {
    /// Which scenario.
    pub scenario: &'static Scenario,
    /// What determines chance.
    pub seed: u64,
    /// About how long a fault lasts.
    pub hold: Duration,
    /// How often it is all done.
    pub rounds: u32,
    /// The command that is tested.
    pub binary: PathBuf,
    /// Where the history and the logs of the nodes go.
    pub out: PathBuf,
    /// The command that runs it again.
    pub replay: String,
}

/// What was found out on the way.
#[derive(Default)]
struct Findings {
    violations: Vec<String>,
    invalid: Vec<String>,
    not_run: Option<String>,
    figures: Figures,
    faults: std::collections::BTreeMap<String, u64>,
    longest_gap: Duration,
    agree: Option<Duration>,
    means: Vec<&'static str>,
    missing: std::collections::BTreeMap<&'static str, String>,
}

impl Findings {
    /// What would have been found had anything been wrong. Only of a run that seems to be good.
    fn proves(&mut self) {
        if !self.violations.is_empty() || !self.invalid.is_empty() || self.not_run.is_some() {
            return;
        }
        let Figures { reads, statuses, .. } = self.figures;
        let shown = [
            (self.faults.is_empty(), "no fault was there"),
            (reads == 0, "no read was answered"),
            (statuses == 0, "no node was seen to say what it is"),
        ];
        self.invalid.extend(shown.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| what.to_owned()));
    }

    fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::NotHere(why) => self.not_run = Some(why),
            Trouble::Test(why) => self.invalid.push(why),
            Trouble::Violation(why) => self.violations.push(why),
        }
    }
}

/// Runs one scenario. `stop` ends it early; nothing is left behind in any case.
pub fn run(plan: &Plan, stop: &watch::Receiver<bool>) -> Outcome {
    let began = Instant::now();
    let mut findings = Findings::default();
    let history = plan.out.join(format!("history-{}-{}.jsonl", plan.scenario.name, plan.seed));
    let logs = plan.out.join(format!("logs-{}-{}", plan.scenario.name, plan.seed));
    match fs::create_dir_all(&logs) {
        Ok(()) => on_machine(plan, stop, &history, &logs, &mut findings),
        Err(error) => findings.invalid.push(format!("{}: {error}", logs.display())),
    }
    let mut report = findings.not_run.is_none().then(|| judge(&history, &mut findings)).flatten();
    findings.proves();
    let verdict = match &findings {
        Findings { violations, .. } if !violations.is_empty() => Verdict::Fail,
        Findings { not_run: Some(_), .. } => Verdict::NotRun,
        Findings { invalid, .. } if !invalid.is_empty() => Verdict::Invalid,
        _ => Verdict::Pass,
    };
    let keep = matches!(verdict, Verdict::Fail | Verdict::Invalid);
    if !keep {
        // What cannot be removed is no reason to fail.
        let _ = fs::remove_dir_all(&logs);
    }
    let mut reasons = findings.violations;
    reasons.append(&mut findings.invalid);
    let said = match verdict {
        Verdict::Fail => Some(dledger_history::Verdict::Fail),
        Verdict::Invalid => Some(dledger_history::Verdict::Invalid),
        Verdict::Pass | Verdict::NotRun => None,
    };
    if let (Some(report), Some(said)) = (report.as_mut(), said) {
        // The page of a run that came to a standstill, or proves nothing, is to say so, whatever the history does.
        report.verdict = said;
        report.invalid.clone_from(&reasons);
    }
    reasons.extend(findings.not_run);
    Outcome {
        scenario: plan.scenario.name.to_owned(),
        seed: plan.seed,
        verdict,
        reasons,
        figures: findings.figures,
        faults: findings.faults,
        longest_gap_ms: findings.longest_gap.as_millis() as u64,
        agree_ms: findings.agree.map(|agree| agree.as_millis() as u64),
        seconds: began.elapsed().as_secs_f64(),
        means: findings.means,
        missing: findings.missing,
        replay: plan.replay.clone(),
        history: history.is_file().then_some(history),
        report,
    }
}

fn on_machine(plan: &Plan, stop: &watch::Receiver<bool>, history: &Path, logs: &Path, findings: &mut Findings) {
    let nodes = plan.scenario.voters + plan.scenario.spare;
    let machine = match Machine::new(Options::nodes(nodes)) {
        Ok(machine) => machine,
        Err(error) => return findings.trouble(error.into()),
    };
    findings.means = machine.capabilities().had();
    findings.missing = machine.capabilities().missing();
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(with_cluster(plan, stop, &machine, history, logs, findings)),
            Err(error) => findings.trouble(error.into()),
        }
    };
    if let Err(error) = machine.as_client(work) {
        findings.trouble(error.into());
    }
    if let Err(error) = machine.close() {
        findings.invalid.push(format!("something is left behind: {error}"));
    }
}

async fn with_cluster(
    plan: &Plan,
    stop: &watch::Receiver<bool>,
    machine: &Machine,
    history: &Path,
    logs: &Path,
    findings: &mut Findings,
) {
    let places = machine.nodes().iter().map(|node| {
        let (name, node) = (format!("n{}", node.id()), node.clone());
        let (address, bind, data_dir) = (node.address().to_owned(), node.bind().to_owned(), node.dir().to_owned());
        Place { name, address, bind, data_dir, launch: Arc::new(move |program: &str| node.command(program)) }
    });
    let settings = Settings {
        binary: plan.binary.clone(),
        logs: logs.to_owned(),
        options: plan.scenario.options.iter().map(|option| (*option).to_owned()).collect(),
        initial: plan.scenario.voters as usize,
    };
    let cluster = match Cluster::new(places.collect(), &settings) {
        Ok(cluster) => Arc::new(cluster),
        Err(error) => return findings.invalid.push(error),
    };
    let mut stopped = stop.clone();
    let done = tokio::select! {
        done = timeout(LONGEST, under_load(plan, machine, &cluster, history, findings)) => done.unwrap_or_else(|_| {
            Err(Trouble::Violation(format!("it has not ended within {LONGEST:?}")))
        }),
        _ = stopped.wait_for(|stop| *stop) => Err(Trouble::NotHere("stopped".into())),
    };
    findings.invalid.extend(cluster.shutdown().await);
    findings.violations.extend(cluster.deaths().await);
    if let Err(trouble) = done {
        findings.trouble(trouble);
    }
    findings.violations.extend(cluster.panics().into_iter().take(TOLD));
}

async fn under_load(
    plan: &Plan,
    machine: &Machine,
    cluster: &Arc<Cluster>,
    history: &Path,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let file = BufWriter::with_capacity(1 << 18, File::create(history)?);
    let clock = Instant::now();
    let recorder = Recorder::new(file, move || clock.elapsed().as_nanos() as u64);
    recorder.record(What::Begin(Begin {
        format: FORMAT,
        run: plan.scenario.name.to_owned(),
        seed: Some(plan.seed),
        replay: Some(plan.replay.clone()),
        nodes: cluster.nodes.iter().map(|node| node.name().to_owned()).collect(),
        retention: plan.scenario.retention,
    }));
    let members: Vec<usize> = (0..plan.scenario.voters as usize).collect();
    cluster.start(&members).await?;
    cluster.leader(FORM).await.map_err(Trouble::Violation)?;
    let rng = Rng::new(plan.seed);
    let workload = Workload::start(&(plan.scenario.load)(), cluster, &recorder, &rng).await;
    let workload = workload.map_err(Trouble::Violation)?;
    workload.progress().acked(WARM, FORM).await.map_err(Trouble::Violation)?;
    workload.progress().begin();
    let mut stage = Stage::new(cluster.clone(), machine.clone(), workload, rng.fork(1), members, plan.hold);

    let mut acted = Ok(());
    for _ in 0..plan.rounds {
        acted = (plan.scenario.act)(&mut stage).await;
        if acted.is_err() {
            break;
        }
    }
    findings.longest_gap = stage.progress().longest_gap();
    findings.faults = stage.faults().clone();
    findings.figures = stage.progress().figures();
    if let Err(trouble @ Trouble::NotHere(_)) = acted {
        return Err(trouble);
    }
    // What went wrong is known; what the replicas hold may say why.
    let ended = settle(&mut stage, &recorder, findings).await;
    findings.invalid.extend(stage.workload.stop_looking().await.err());
    findings.violations.extend(stage.workload.findings());
    findings.figures = stage.progress().figures();
    for violation in &findings.violations {
        recorder.record(What::Note { text: violation.clone() });
    }
    recorder.finish()?;
    if let Err(trouble) = ended {
        findings.trouble(trouble);
    }
    acted
}

/// All faults are gone: everybody comes to hold the same, and that is written down.
async fn settle(stage: &mut Stage, recorder: &Recorder, findings: &mut Findings) -> Result<(), Trouble> {
    let healed = Instant::now();
    stage.all_up().await?;
    stage.at_work("after everything").await?;
    stage.workload.stop().await.map_err(Trouble::Test)?;
    stage.cluster.agree(&stage.members, AGREE).await.map_err(Trouble::Violation)?;
    findings.agree = Some(healed.elapsed());
    stage.cluster.read_replicas(&stage.members, recorder).await.map_err(Trouble::Violation)
}

/// What the judge says of what was written down.
fn judge(history: &Path, findings: &mut Findings) -> Option<dledger_history::Report> {
    let mut judge = Judge::new();
    let read = History::open(history).and_then(|mut events| events.try_for_each(|event| event.map(|e| judge.push(e))));
    if let Err(error) = read {
        findings.invalid.push(error.to_string());
        return None;
    }
    let report = judge.finish();
    let violations = report.violations.iter().map(|v| format!("{}: {}", v.law, v.explanation));
    findings.violations.extend(violations.take(TOLD));
    if report.verdict == dledger_history::Verdict::Invalid {
        findings.invalid.extend(report.invalid.iter().take(TOLD).cloned());
    }
    Some(report)
}
