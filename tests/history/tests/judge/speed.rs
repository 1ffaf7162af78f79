//! How long two million calls take: `cargo test --release -p dledger-history -- --ignored --nocapture`.

use std::io::{BufWriter, Write};
use std::time::Instant;

use dledger::Consistency;
use dledger_history::{Acked, Answer, Begin, Call, Event, FORMAT, Hash, History, Item, Judge, Replica, Verdict, What};

const CALLS: u64 = 2_000_000;

fn item(index: u64) -> Item {
    Item { index, position: 100 * index, term: 1, hash: Hash::of(&index.to_le_bytes()) }
}

/// Every other call appends a record, every other gets one; three replicas hold all.
fn events() -> impl Iterator<Item = What> {
    let begin = Begin {
        format: FORMAT,
        run: "speed".to_owned(),
        seed: None,
        replay: None,
        nodes: Vec::new(),
        retention: false,
    };
    let calls = (0..CALLS).flat_map(|op| {
        let index = op / 2;
        let Item { position, term, hash, .. } = item(index);
        let (call, answer) = if op % 2 == 0 {
            let acks = vec![Acked { index, position, term }];
            (Call::Append { records: vec![hash], session: None }, Answer::Acked { acks })
        } else {
            let get = Call::Get { index, consistency: Consistency::Linearizable, node: Some("n1".to_owned()) };
            (get, Answer::Found { records: vec![item(index)] })
        };
        [What::Invoke { client: op % 50, op, call }, What::Ok { op, answer }]
    });
    let replica = |node: u64, from: u64| {
        let records = (from..from + 1000).map(item).collect();
        What::Replica(Replica { node: format!("n{node}"), first: 0, end: CALLS / 2, chain: None, records })
    };
    let replicas = (0..3).flat_map(move |node| (0..CALLS / 2).step_by(1000).map(move |from| replica(node, from)));
    std::iter::once(What::Begin(begin)).chain(calls).chain(replicas)
}

/// Processor time of this process in seconds: what others run beside it does not count.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[test]
#[ignore = "takes a minute; a figure, no law"]
fn two_million_calls_are_judged_in_seconds() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut out = BufWriter::new(&mut file);
    for (at, what) in events().enumerate() {
        serde_json::to_writer(&mut out, &Event { at: at as u64, what }).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
    drop(out);

    let (start, busy) = (Instant::now(), processor());
    let mut judge = Judge::new();
    for event in History::open(file.path()).unwrap() {
        judge.push(event.unwrap());
    }
    let read = start.elapsed();
    let report = judge.finish();
    let took = start.elapsed();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.violations.first());
    let bytes = file.as_file().metadata().unwrap().len();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    let busy = processor() - busy;
    let lines = report.counts.events;
    println!("{lines} lines, {bytes} bytes: {took:?}, {read:?} of it line by line; processor {busy:.1} s; {memory}");
}
