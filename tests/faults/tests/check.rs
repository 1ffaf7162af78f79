//! `dledger-faults check`: what it prints, and how it exits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use dledger_history::Law;
use serde_json::Value;

const BEGIN: &str = concat!(
    r#"{"at":0,"event":"begin","format":1,"run":"by hand","seed":7,"replay":"make it so","nodes":["n0","n1"],"#,
    r#""retention":false}"#
);
const INVOKE: &str = concat!(
    r#"{"at":1000000000,"event":"invoke","client":1,"op":0,"call":"append","#,
    r#""records":["2cf24dba5fb0a30e26e83b2ac5b9e29e"]}"#
);
const OK: &str = r#"{"at":2000000000,"event":"ok","op":0,"answer":"acked","acks":[{"index":0,"position":8,"term":1}]}"#;
const ABSENT: [&str; 2] = [
    r#"{"at":3000000000,"event":"invoke","client":2,"op":1,"call":"get","index":0,"consistency":"linearizable"}"#,
    r#"{"at":4000000000,"event":"ok","op":1,"answer":"absent","index":0}"#,
];
const FAULT: &str = r#"{"at":5000000000,"event":"fault","fault":3,"kind":"kill","nodes":["n0"],"phase":"installed"}"#;
const REPLICA: &str = concat!(
    r#"{"at":6000000000,"event":"replica","node":"n0","first":0,"end":1,"#,
    r#""records":[{"index":0,"position":8,"term":1,"hash":"2cf24dba5fb0a30e26e83b2ac5b9e29e"}]}"#
);

fn check(lines: &[&str], args: &[&str]) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger-faults"));
    if args.contains(&"-") {
        command.stdin(File::open(file.path()).unwrap());
    } else {
        command.stdin(Stdio::null()).arg("check").arg(file.path());
        return command.args(args).output().unwrap();
    }
    command.arg("check").args(args).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_history_in_order_passes() {
    for args in [&[][..], &["-"]] {
        let output = check(&[BEGIN, INVOKE, OK, REPLICA, ""], args);
        assert_eq!((output.status.code(), &*said(&output.stderr)), (Some(0), ""));
        let expected = "\
verdict   pass
history   by hand, seed 7: 4 lines, 6s
appends   1: 1 acknowledged (1 records), 0 failed, 0 unknown
reads     0, 0 of them lease or linearizable; 0 records, with tails
replicas  1, 1 records in the end, 1 compared
nodes     0 statuses, 0 chain values
faults    none
";
        assert_eq!(said(&output.stdout), expected);
    }
}

#[test]
fn a_broken_law_is_explained_and_exits_with_1() {
    let lines = [BEGIN, INVOKE, OK, ABSENT[0], ABSENT[1], REPLICA];
    let output = check(&lines, &[]);
    assert_eq!((output.status.code(), &*said(&output.stderr)), (Some(1), "1 violations\n"));
    let text = said(&output.stdout);
    assert!(text.starts_with("verdict   fail\n"), "{text}");
    assert!(
        text.contains("\nbroken    real-time: Index 0 was there at 2.000000000 s, when call 0 (client 1's"),
        "{text}"
    );
    assert!(text.ends_with("\nreplay    make it so\n"), "{text}");

    let output = check(&lines, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "fail");
    assert_eq!(report["counts"]["violations"]["real-time"], 1);
    let violation = &report["violations"][0];
    assert_eq!((violation["law"].as_str(), violation["index"].as_u64()), (Some("real-time"), Some(0)));
    assert_eq!(violation["ops"], serde_json::json!([0, 1]));
}

#[test]
fn what_proves_nothing_exits_with_2() {
    let output = check(&[BEGIN, INVOKE, OK, FAULT, REPLICA], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said(&output.stderr), "error: this history proves nothing: 2 reasons\n");
    let text = said(&output.stdout);
    assert!(text.starts_with("verdict   invalid\n"), "{text}");
    assert!(text.contains("\ninvalid   fault 3 (kill) was never observed: nothing shows that it happened\n"), "{text}");
}

#[test]
fn what_cannot_be_read_exits_with_2_and_says_where() {
    let later = INVOKE.replace("\"client\"", "\"urgent\":true,\"client\"");
    let cut = &REPLICA[..80];
    let cases: [(&[&str], &str); 4] = [
        (&[BEGIN, "hello"], "line 2 of"),
        (&[BEGIN, &later, OK], "unknown field `urgent`"),
        (&[BEGIN, INVOKE, OK, cut], "ends within line 4: whoever wrote it was interrupted"),
        (&[&BEGIN.replace("\"format\":1", "\"format\":2")], "format 2"),
    ];
    for (lines, expected) in cases {
        let mut text = lines.to_vec();
        if lines.last() != Some(&cut) {
            text.push("");
        }
        let output = check(&text, &[]);
        let error = said(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{expected:?} is not in {error:?}");
        assert_eq!(said(&output.stdout), "");
    }
    let missing =
        Command::new(env!("CARGO_BIN_EXE_dledger-faults")).args(["check", "/no/such/history"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing.stderr).contains("cannot open /no/such/history"));
}

#[test]
fn the_example_in_the_docs_is_judged_as_they_say_and_every_law_is_named() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tools.md")).unwrap();
    let block = |begins: &str| docs.split_once(begins).unwrap().1.split_once("```").unwrap().0.to_owned();
    let history = block("```jsonl\n");
    let output = check(&history.split('\n').collect::<Vec<_>>(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output.stdout) + &said(&output.stderr), block("$ dledger-faults check history.jsonl\n"));
    for law in Law::ALL {
        assert!(docs.contains(&format!("\n| `{law}` | ")), "docs/tools.md does not name the law {law}");
    }
}
