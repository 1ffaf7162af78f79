//! What came of a scenario: the replicas in the end, the judgement, the sums.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dledger::ReadLimit;
use dledger_history::{Event, Hash, Replica, Verdict, What, check};
use dledger_sim::wire::{connections, pass};
use futures::TryStreamExt;

use super::cluster::Cluster;
use super::load::{Load, Told, item};

/// After everything is healed the nodes are equal within this.
const CONVERGES: Duration = Duration::from_secs(20);
/// Connections that nobody needs any more are closed within this: keepalive finds them out.
const CLOSES: Duration = Duration::from_secs(15);
/// Connections of a node to each other node: one for each lane.
const LANES: usize = 3;
/// All there is, as fast as it comes.
const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of the whole history: equal after equal runs.
    pub hash: Hash,
    /// Its lines.
    pub events: u64,
    /// What clients were told.
    pub told: Told,
    /// How many faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// How much time passed, simulated.
    pub time: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { acked, unknown, refused, reads, tailed, longest, .. } = &self.told;
        write!(f, "{} events, hash {}, {:?} simulated: ", self.events, self.hash, self.time)?;
        write!(f, "{acked} appends acked, {unknown} unknown, {refused} refused, {reads} reads, {tailed} tailed, ")?;
        write!(f, "longest call {longest:?}, faults {:?}", self.faults)
    }
}

impl Cluster<'_> {
    /// The end of every scenario, all faults removed: the clients end, the nodes converge, every replica is read over
    /// the wire, connections that nobody needs are closed, and the history is judged.
    ///
    /// # Panics
    /// If any of that fails.
    pub fn finish(mut self, load: &Load) -> Outcome {
        load.stop();
        let bound = load.timeout * 2;
        let began = self.now();
        while !self.step() {
            assert!(self.now() < began + bound, "calls have not ended {bound:?} after the last one began");
        }
        let told = load.told();
        assert!(told.late.is_empty(), "{:#?}", told.late);

        self.wait("all replicas to be equal", CONVERGES, |cluster| {
            let ends = cluster.nodes.iter().map(|node| node.ledger().map(|ledger| ledger.status()));
            let ends: Option<Vec<_>> = ends.map(|s| s.map(|s| (s.committed, s.end, s.committed_chain))).collect();
            ends.is_some_and(|ends| ends.iter().all(|end| *end == ends[0] && end.0 == end.1))
        });
        self.read_replicas(load);
        let most = LANES * (self.nodes.len() - 1);
        self.wait("connections that nobody needs to be closed", CLOSES, |cluster| {
            cluster.nodes.iter().all(|node| {
                let open = node.node().map_or(0, |node| connections(&node));
                // Those of the gate, and all of the host: those it took and those it made.
                open <= most && node.meter.open() <= 2 * most
            })
        });

        let history = self.history();
        if std::env::var_os("DLEDGER_TOLD").is_some() {
            println!("{}", keep(&history));
        }
        let events: Vec<Event> =
            history.lines().map(|line| serde_json::from_str(line).expect("a line of a history")).collect();
        let faults = self.count_faults(&events);
        let (hash, count, time) = (Hash::of(history.as_bytes()), events.len() as u64, self.now());
        let report = check(events);
        assert!(report.verdict == Verdict::Pass, "{report:#?}\n{}", keep(&history));
        Outcome { hash, events: count, told, faults, time }
    }

    /// Every replica, as a client reads it from that node alone.
    fn read_replicas(&mut self, load: &Load) {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let (load, recorder) = (load.clone(), self.recorder.clone());
        let ledgers: Vec<_> = self.nodes.iter().filter_map(|node| node.ledger()).collect();
        self.client("auditor", async move {
            let client = load.connect("auditor");
            for (name, ledger) in names.into_iter().zip(ledgers) {
                let status = ledger.status();
                let node = client.node(&name.parse().expect("an id")).expect("a node of the list");
                let records = node.read_stream(0.., ALL).await.expect("a node that runs is read");
                let records: Vec<_> = records.try_collect().await.expect("a node that runs is read");
                let chain =
                    dledger_history::ChainAt { position: status.committed_position, value: status.committed_chain };
                recorder.record(What::Replica(Replica {
                    node: name,
                    first: status.first,
                    end: status.committed,
                    chain: Some(chain),
                    records: records.iter().map(item).collect(),
                }));
            }
            pass(Duration::ZERO).await;
        });
        let began = self.now();
        while !self.step() {
            assert!(self.now() < began + CONVERGES, "the replicas cannot be read");
        }
    }
}

/// Where the history of a failed run was written, for people.
fn keep(history: &str) -> String {
    let path = std::env::temp_dir().join(format!("dledger-wire-{}.jsonl", std::process::id()));
    match std::fs::write(&path, history) {
        Ok(()) => format!("the history is in {}", path.display()),
        Err(error) => format!("the history could not be written to {}: {error}", path.display()),
    }
}
