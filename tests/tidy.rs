//! House rules, checked by reading the source tree. Each finding says where it is and what to do.
//!
//! A rule that is in the way is changed here, with the reason; nothing is exempt quietly.

#![allow(clippy::expect_used, clippy::panic, reason = "a tree that cannot be read fails the test")]

use std::collections::BTreeMap;

use source::{Function, Source, Token, UsedPath, sources};

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tests.rs"]
mod tests_of_the_rules;

/// The layers, lowest first. A layer uses those in lines above its own; layers in one line do not use each other.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["config"],
    &["error"],
    &["format", "disk"],
    &["segment", "wire"],
    &["log", "transport"],
    &["raft"],
    &["peer"],
    &["node"],
    &["server", "client", "offline"],
    // For tests: several nodes in one process; what the simulator, the benches and the laws reach past the API.
    &["testkit", "seams"],
];

/// Where openraft may be named: everywhere else is spared its next release.
const NAMES_OPENRAFT: &[&str] = &["src/raft/", "src/peer/", "tests/sim/"];

/// The one file that holds all the `unsafe`, with the argument why it is sound.
const HOLDS_UNSAFE: &str = "src/disk/mapping.rs";
/// Replaces symbols of the C library in one test program, which cannot be done safely: a simulation over crates that
/// ask the system for random numbers and the time has no other way to determine what they are told.
const REPLACES_SYMBOLS: &str = "tests/faults/tests/wire/system.rs";

/// Test files that may sleep, and why nothing can be waited for instead.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("src/node/tests/idle.rs", "that a task does nothing is no event: its time on the processor is measured"),
    ("tests/faults/src/machine/proxies.rs", "no test: that a piece comes late is the fault itself"),
    ("tests/idle.rs", "as above: the processor time of idle ledgers is measured"),
    ("tests/sim/src/wire.rs", "no test: tokio's time is virtual there, and a test has it pass"),
];

const MAX_LINES: usize = 450;
const MAX_COLUMNS: usize = 120;
const MAX_FUNCTION: usize = 70;

#[test]
fn layers_use_only_lower_layers() {
    let all = sources("rs");
    let lib = all.iter().find(|s| s.path == "src/lib.rs").expect("the crate has a root");
    let exports = exports(lib);
    report(all.iter().flat_map(|s| layering(s, &exports)));
}

#[test]
fn only_raft_and_peer_name_openraft() {
    report(sources("rs").iter().flat_map(stray_openraft));
}

#[test]
fn unsafe_is_in_one_file() {
    report(sources("rs").iter().flat_map(stray_unsafe));
}

#[test]
fn files_and_lines_are_short() {
    report(sources("rs").iter().chain(&sources("proto")).flat_map(size));
}

#[test]
fn functions_are_short() {
    report(sources("rs").iter().flat_map(long_functions));
}

#[test]
fn a_folder_lists_what_is_in_it() {
    report(rooms::tables(&sources("rs")));
}

#[test]
fn the_layers_of_the_document_are_those_that_are_enforced() {
    let documents = documents::documents();
    let architecture = documents.iter().find(|document| document.path == "docs/architecture.md");
    report(documents::layers(architecture.expect("it is there")));
}

#[test]
fn the_documents_name_what_there_is() {
    let all = sources("rs");
    let words = all.iter().flat_map(|source| &source.tokens).map(|token| &*token.text).collect();
    let documents = documents::documents();
    report(documents.iter().flat_map(|d| [documents::places(d), documents::tests(d, &words)].concat()));
}

#[test]
fn tests_do_not_sleep() {
    let all = sources("rs");
    let (excused, rest): (Vec<_>, Vec<_>) = all.iter().partition(|s| MAY_SLEEP.iter().any(|(path, _)| *path == s.path));
    let idle = MAY_SLEEP.iter().filter(|(path, _)| !excused.iter().any(|s| s.path == *path && !sleep(s).is_empty()));
    let idle = idle.map(|(path, _)| format!("{path}:1: may sleep, but does not: take it out of MAY_SLEEP"));
    report(rest.into_iter().flat_map(sleep).chain(idle));
}

#[test]
fn nothing_is_left_unfinished() {
    report(sources("rs").iter().flat_map(unfinished));
}

#[test]
fn what_an_operator_reads_is_no_debug_output() {
    report(sources("rs").iter().filter(|source| source.path.starts_with("src/")).flat_map(debug_output));
}

#[test]
fn a_log_line_says_of_which_ledger_it_is() {
    report(sources("rs").iter().flat_map(of_no_ledger));
}

#[test]
fn every_file_says_what_it_is() {
    report(sources("rs").iter().flat_map(introduction));
}

#[test]
fn everything_in_the_protos_has_a_comment() {
    report(sources("proto").iter().flat_map(comments));
}

// --- the rules ---

fn layering(source: &Source, exports: &BTreeMap<String, String>) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(own) = module.first() else { return Vec::new() };
    let Some(rank) = rank(own) else {
        return vec![source.finding(1, format!("{own} is no layer: give it a place in LAYERS"))];
    };
    let mut found = Vec::new();
    for path in source.paths() {
        let Some(name) = path.at_root(module.len()) else { continue };
        let target = exports.get(name).map_or(name, String::as_str);
        let say = |what: String| source.finding(path.line, what);
        match self::rank(target) {
            _ if target == *own => {}
            Some(below) if below < rank => {}
            Some(_) => found.push(say(format!(
                "{own} uses {target} ({}), which is not below it: hand the value down, or move the code",
                path.segments.join("::")
            ))),
            None => found.push(say(format!("crate::{name} is in no layer: name it by the layer it comes from"))),
        }
    }
    found
}

fn stray_openraft(source: &Source) -> Vec<String> {
    if NAMES_OPENRAFT.iter().any(|dir| source.path.starts_with(dir)) {
        return Vec::new();
    }
    let named = source.tokens.iter().filter(|t| t.text == "openraft" || t.text.starts_with("openraft_"));
    let say =
        |t: &Token| source.finding(t.line, "names openraft: do it in raft or peer, and hand on a type of our own");
    named.map(say).collect()
}

fn stray_unsafe(source: &Source) -> Vec<String> {
    if source.path == HOLDS_UNSAFE || source.path == REPLACES_SYMBOLS {
        return Vec::new();
    }
    let say = |t: &Token| source.finding(t.line, format!("unsafe: do it in {HOLDS_UNSAFE}, behind a safe function"));
    source.tokens.iter().filter(|t| t.text == "unsafe").map(say).collect()
}

fn size(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        found.push(source.finding(MAX_LINES + 1, format!("{lines} lines, at most {MAX_LINES}: split the file")));
    }
    for (i, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            found.push(source.finding(i + 1, format!("{columns} columns, at most {MAX_COLUMNS}: break the line")));
        }
    }
    found
}

fn long_functions(source: &Source) -> Vec<String> {
    let long = source.functions().into_iter().filter(|function| !function.test && function.lines > MAX_FUNCTION);
    let say = |function: Function| {
        let Function { name, line, lines, .. } = function;
        source.finding(line, format!("{name} has {lines} lines, at most {MAX_FUNCTION}: split it"))
    };
    long.map(say).collect()
}

fn sleep(source: &Source) -> Vec<String> {
    let test_file = source.is_test();
    let sleeps = |path: &UsedPath| {
        let pair = |w: &[String]| matches!(&*w[0], "thread" | "time") && matches!(&*w[1], "sleep" | "sleep_until");
        (path.test || test_file) && path.segments.windows(2).any(pair)
    };
    let say = |path: UsedPath| {
        source.finding(path.line, "a test that sleeps: wait for the event (a watch, a channel), or pause the clock")
    };
    source.paths().into_iter().filter(sleeps).map(say).collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    let is_macro = |w: &&[Token]| w[1].text == "!" && w[2].text != "=";
    let marked = |w: &&[Token]| matches!(&*w[0].text, "todo" | "unimplemented" | "dbg") && is_macro(w);
    let say = |w: &[Token]| source.finding(w[0].line, format!("{}!: finish it, or take it out", w[0].text));
    source.tokens.windows(3).filter(marked).map(say).collect()
}

/// `?field` and `{:?}` where something is logged for people to read.
fn debug_output(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let say = |line| source.finding(line, "Debug output in a log: tell it in words (a name, `%field`, types::Span)");
    for at in 0..source.tokens.len() {
        let text = |at: usize| source.tokens.get(at).map_or("", |token| &*token.text);
        if !(matches!(text(at), "warn" | "error" | "info") && text(at + 1) == "!" && text(at + 2) == "(") {
            continue;
        }
        let (mut end, mut depth) = (at + 3, 1);
        while depth > 0 && end < source.tokens.len() {
            depth += i32::from(text(end) == "(") - i32::from(text(end) == ")");
            // An operator stands behind a value.
            if text(end) == "=?" || (text(end) == "?" && matches!(text(end - 1), "(" | "," | "=")) {
                found.push(say(source.tokens[end].line));
            }
            end += 1;
        }
        let (first, last) = (source.tokens[at].line, source.tokens[end - 1].line);
        let lines = source.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        let shown =
            lines.filter(|(n, line)| (first..=last).contains(n) && (line.contains(":?}") || line.contains(":#?}")));
        found.extend(shown.map(|(n, _)| say(n)));
    }
    found
}

/// What is logged of a ledger without saying of which: a node has many.
fn of_no_ledger(source: &Source) -> Vec<String> {
    if !["src/log/", "src/raft/"].iter().any(|part| source.path.starts_with(part)) {
        return Vec::new();
    }
    let text = |at: usize| source.tokens.get(at).map_or("", |token| &*token.text);
    let logged = (0..source.tokens.len())
        .filter(|at| matches!(text(*at), "warn" | "error" | "info") && text(at + 1) == "!" && text(at + 2) == "(");
    let nameless = logged.filter(|at| {
        let mut depth = 1;
        let inside = (at + 3..source.tokens.len()).take_while(|at| {
            depth += i32::from(text(*at) == "(") - i32::from(text(*at) == ")");
            depth > 0
        });
        !inside.into_iter().any(|at| matches!(text(at), "group" | "file" | "dir"))
    });
    let say =
        |at: usize| source.finding(source.tokens[at].line, "a log line of no ledger: name its `group`, or a file");
    nameless.map(say).collect()
}

fn introduction(source: &Source) -> Vec<String> {
    match source.text.lines().next() {
        Some(line) if line.starts_with("//! ") => Vec::new(),
        _ => vec![source.finding(1, "no `//!` in the first line: say what the file is for")],
    }
}

fn comments(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut blocks: Vec<&str> = Vec::new();
    let mut commented = false;
    for (i, line) in source.text.lines().map(str::trim).enumerate() {
        if line.starts_with("//") {
            commented = true;
            continue;
        }
        let (code, trailing) = line.split_once("//").map_or((line, false), |(code, _)| (code.trim(), true));
        let word = code.split([' ', '{']).next().unwrap_or_default();
        let in_enum = blocks.last() == Some(&"enum");
        let field = code.ends_with(';') && code.contains('=') && !blocks.is_empty() && word != "option";
        // The zero of an enum says that nothing was said.
        let zero = in_enum && code.replace(' ', "").ends_with("=0;");
        let named = matches!(word, "message" | "enum" | "service" | "rpc") || (field && !zero);
        if named && !commented && !trailing {
            found.push(source.finding(i + 1, format!("{code:?} has no comment: say what it means in the line above")));
        }
        blocks.extend(code.matches('{').map(|_| word));
        blocks.truncate(blocks.len().saturating_sub(code.matches('}').count()));
        commented = false;
    }
    found
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|layers| layers.contains(&layer))
}

/// Names the crate's root gives out, and the layer of each.
fn exports(lib: &Source) -> BTreeMap<String, String> {
    let paths = lib.paths().into_iter().filter(|path| rank(&path.segments[0]).is_some());
    paths.filter_map(|path| Some((path.segments.last()?.clone(), path.segments[0].clone()))).collect()
}

fn report(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<_> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{} to tidy up:\n{}", findings.len(), findings.join("\n"));
}
