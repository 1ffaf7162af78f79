//! The page of a run: whole, escaped, small, and nothing missing.

use dledger_faults::report::{Run, Scenario, from_history, page};
use dledger_history::{Event, FaultEvent, FaultPhase, Verdict, What};
use sample::{MS, S, Sample, report, stale_read};

mod nesting;
mod sample;

/// Writes the page to where it can be looked at in a browser: `target/tmp/report-NAME.html`.
fn keep(name: &str, html: &str) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}.html"));
    std::fs::write(&path, html).unwrap();
}

fn run_of(scenarios: impl IntoIterator<Item = Scenario>) -> Run {
    let mut run = Run::new("ci profile, seed 7");
    scenarios.into_iter().for_each(|one| run.push(one));
    run
}

/// The data of the timeline `number`, as the browser gets it.
fn data(html: &str, number: usize) -> serde_json::Value {
    let start = format!("<script type=\"application/json\" id=\"data-{number}\">");
    let text = html.split_once(&start).unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_with_all_there_is_has_a_section_lane_and_line_for_each() {
    let mut failed = Sample::busy("leader-kill", 7, 6, 9 * MS).events();
    let judged = stale_read(&mut failed, 13 * S);
    let mut unproven = Sample::busy("slow-disk", 8, 4, 12 * MS);
    let mut proven = Sample::busy("partitions", 8, 4, 12 * MS);
    proven.faults.pop();
    unproven.faults.drain(..3);
    let mut invalid = report(Verdict::Invalid);
    invalid.invalid.push("fault 2 (slow-disk on n2) was never observed".to_owned());
    let run = run_of([
        Scenario::new(&proven.events(), &report(Verdict::Pass)),
        Scenario::new(&failed, &judged),
        Scenario::new(&unproven.events(), &invalid),
    ]);
    let html = page(&run);
    keep("all", &html);

    let elements = nesting::elements(&html).unwrap();
    assert_eq!(elements.iter().filter(|name| *name == "details").count(), 3);
    assert!(html.contains("1 of 3\u{a0}scenarios failed."));
    // The one that failed comes first, and is open.
    let order: Vec<usize> =
        [1, 2, 0].map(|i| html.find(&format!("<details class=\"scenario\" id=\"s{i}\"")).unwrap()).into();
    assert!(order.is_sorted(), "{order:?}");
    let section = &html[order[0]..order[1]];
    assert!(section.starts_with("<details class=\"scenario\" id=\"s1\" data-timeline=\"data-1\" open>"));
    for client in 0..6 {
        assert!(section.contains(&format!(">client {client}</span>")), "client {client}");
    }
    for fault in ["kill", "partition", "loss", "pause", "slow-disk"] {
        assert!(section.contains(&format!("<th scope=\"row\">{fault}</th>")), "{fault}");
    }
    assert!(section.contains("never observed"), "the fault without proof");
    assert!(section.contains("1 204 packets dropped"), "the evidence");
    let violation = &judged.violations[0];
    assert!(section.contains(&violation.explanation.replace('\'', "&#39;")));
    assert!(section.contains("<b class=\"mark\">A</b>") && section.contains("<b class=\"mark\">B</b>"));
    assert!(section.contains("cargo run -p dledger-faults -- run --scenario leader-kill --seed 7</code>"));

    let data = data(&html, 1);
    assert_eq!((data["lanes"].as_array().unwrap().len(), data["faults"].as_array().unwrap().len()), (6, 5));
    assert_eq!(data["nodes"].as_array().unwrap().len(), 3);
    let marks: Vec<u64> = data["marks"].as_array().unwrap().iter().map(|mark| mark[1].as_u64().unwrap()).collect();
    assert_eq!(marks, violation.ops);
    let killed = &data["nodes"][0]["roles"];
    assert!(killed.as_array().unwrap().iter().any(|role| role[0] == 5_000_000 && role[1] == "down"), "{killed}");
    // The partition cost the leader for 2.13 s; calls came all the time.
    let longest = data["windows"].as_array().unwrap().iter().map(|w| w[1].as_u64().unwrap() - w[0].as_u64().unwrap());
    let longest = longest.max().unwrap();
    assert!((2_100_000..2_500_000).contains(&longest), "{longest} us");
}

#[test]
fn a_hundred_thousand_calls_make_a_small_page_that_hides_no_outcome() {
    let mut events = Sample::busy("throughput", 3, 16, 3500 * MS / 1000).events();
    let calls = events.iter().filter(|event| matches!(event.what, What::Invoke { .. })).count();
    let ended = |wanted: fn(&What) -> bool| events.iter().filter(|event| wanted(&event.what)).count() as u64;
    let ends = [
        ended(|what| matches!(what, What::Ok { .. })),
        ended(|what| matches!(what, What::Fail { .. })),
        ended(|what| matches!(what, What::Unknown { .. })),
    ];
    // When nothing is done to the nodes: there is nothing else about these calls that would have them drawn.
    let judged = stale_read(&mut events, 35 * S);
    let html = page(&run_of([Scenario::new(&events, &judged)]));
    keep("throughput", &html);

    assert!(calls >= 100_000, "{calls}");
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    let data = data(&html, 0);
    let lanes = data["lanes"].as_array().unwrap();
    let bins = || lanes.iter().flat_map(|lane| lane["bins"].as_array().unwrap());
    let counted = [1, 2, 3].map(|at| bins().map(|bin| bin[at].as_u64().unwrap()).sum::<u64>());
    assert_eq!(counted, ends);
    let drawn = |op: u64| lanes.iter().any(|lane| lane["calls"].as_array().unwrap().iter().any(|call| call[5] == op));
    for &op in &judged.violations[0].ops {
        assert!(drawn(op), "call {op} of the violation is not drawn");
    }
    let one_by_one: usize = lanes.iter().map(|lane| lane["calls"].as_array().unwrap().len()).sum();
    assert!(one_by_one <= 12_002, "{one_by_one}");
}

#[test]
fn no_text_of_a_history_becomes_markup() {
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'\u{202e}";
    let mut events = Sample::busy("leader-kill", 7, 4, 90 * MS).events();
    for event in &mut events {
        match &mut event.what {
            What::Begin(begin) => {
                begin.run = hostile.to_owned();
                begin.replay = Some(hostile.to_owned());
                begin.nodes.push(hostile.to_owned());
            }
            What::Fail { error, .. } | What::Unknown { error, .. } => *error = hostile.to_owned(),
            What::Status(status) => {
                status.role = if status.node == "n2" { hostile.to_owned() } else { status.role.clone() };
            }
            What::Fault(FaultEvent { kind, nodes, evidence, .. }) => {
                *kind = hostile.to_owned();
                nodes.push(hostile.to_owned());
                *evidence = hostile.to_owned();
            }
            What::Note { text } => *text = hostile.to_owned(),
            _ => {}
        }
    }
    let mut judged = stale_read(&mut events, 20 * S);
    judged.violations[0].explanation = hostile.to_owned();
    judged.violations[0].nodes = vec![hostile.to_owned()];
    judged.invalid.push(hostile.to_owned());
    let mut run = Run::new(hostile);
    run.push(Scenario::new(&events, &judged).with_name(hostile).with_replay(hostile));
    let html = page(&run);
    keep("hostile", &html);

    let elements = nesting::elements(&html).unwrap();
    assert_eq!(elements.iter().filter(|name| *name == "script").count(), 5, "the data and our own four");
    assert!(!elements.iter().any(|name| name == "img"));
    assert!(!html.contains("<script>") && !html.contains("<img") && !html.contains('\u{202e}'));
    assert_eq!(data(&html, 0)["faults"][0]["kind"], hostile.replace('\u{202e}', "\\u{202e}"));
}

#[test]
fn nothing_is_a_page_too() {
    let nothing = page(&Run::new("nothing"));
    nesting::elements(&nothing).unwrap();
    assert!(nothing.contains("This run has no scenario."));

    let empty = page(&run_of([Scenario::new(&[], &report(Verdict::Invalid))]));
    keep("empty", &empty);
    nesting::elements(&empty).unwrap();
    for said in ["no faults in this history", "no node said anything", "no client called", "no appends", "unnamed"] {
        assert!(empty.contains(said), "{said}");
    }
    assert_eq!(data(&empty, 0)["end"], 1, "a range of time to divide by");
}

#[test]
fn a_history_out_of_order_and_at_the_ends_of_the_clock_is_shown() {
    let mut events = Sample::busy("odd", 1, 2, 50 * MS).events();
    events.reverse();
    let fault = |at, phase| Event {
        at,
        what: What::Fault(FaultEvent {
            fault: 99,
            kind: "x".into(),
            nodes: Vec::new(),
            phase,
            evidence: String::new(),
        }),
    };
    events.push(fault(u64::MAX, FaultPhase::Removed));
    events.push(fault(0, FaultPhase::Installed));
    nesting::elements(&page(&run_of([Scenario::new(&events, &report(Verdict::Pass))]))).unwrap();
}

#[test]
fn thousands_of_seeds_are_one_line_and_few_timelines() {
    let events = Sample::busy("election", 1, 4, 500 * MS).events();
    let mut run = Run::new("nightly");
    for seed in 0..3000 {
        let mut events = events.clone();
        if let What::Begin(begin) = &mut events[0].what {
            begin.seed = Some(seed);
        }
        let judged = if seed == 1234 { stale_read(&mut events, S) } else { report(Verdict::Pass) };
        run.push(Scenario::new(&events[..events.len().min(400)], &judged));
    }
    let html = page(&run);
    keep("seeds", &html);
    let elements = nesting::elements(&html).unwrap();
    assert_eq!(
        elements.iter().filter(|name| *name == "details").count(),
        3,
        "two that passed, and the one that failed"
    );
    assert!(html.contains("2999 seeds<br><code>0</code> to <code>2999</code>"));
    assert!(html.contains("<code>1234</code>") && html.len() < 1_000_000, "{} bytes", html.len());
}

#[test]
fn the_page_of_a_file_is_judged_and_a_file_that_was_cut_short_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let events = Sample::busy("from a file", 5, 2, 100 * MS).events();
    let lines: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    let text = lines.join("\n");
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    let html = from_history(&path).unwrap();
    keep("file", &html);
    nesting::elements(&html).unwrap();
    assert!(html.contains("<h2>from a file</h2>"), "the name is in the first line");
    assert!(html.contains("whoever wrote it was interrupted"), "the judge's reason, and ours");

    std::fs::write(&path, "{\"at\": 1}\n").unwrap();
    let error = from_history(&path).unwrap_err().to_string();
    assert!(error.contains("line 1 of"), "{error}");
}

#[test]
fn a_clock_that_did_not_begin_with_the_history_is_told_once() {
    let said = "of the history's clock";
    let events = Sample::busy("own", 5, 1, S).events();
    assert!(!page(&run_of([Scenario::new(&events, &report(Verdict::Pass))])).contains(said));

    let uptime = 1_000_000 * S;
    let foreign: Vec<Event> =
        events.iter().map(|event| Event { at: uptime + event.at, what: event.what.clone() }).collect();
    let html = page(&run_of([Scenario::new(&foreign, &report(Verdict::Pass))]));
    assert!(html.contains(said) && html.contains("1000000.000\u{202f}000\u{a0}s"));
    assert_eq!(data(&html, 0)["end"], 40_000_000);
}
