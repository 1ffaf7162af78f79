//! Each rule can fail, and says where.

use super::*;

/// The lines of a small file that a rule objects to.
fn lines(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
    let line = |finding: String| {
        let rest = finding.strip_prefix(path).and_then(|rest| rest.strip_prefix(':'));
        let line = rest.and_then(|rest| rest.split(':').next()).and_then(|line| line.parse().ok());
        line.unwrap_or_else(|| panic!("{finding:?} does not say where"))
    };
    rule(&Source::new(path, text)).into_iter().map(line).collect()
}

fn layers(path: &str, text: &str) -> Vec<usize> {
    let exports = exports(&Source::new("src/lib.rs", "pub use node::{Ledger, Node}; pub use types::Ack;"));
    lines(|source| layering(source, &exports), path, text)
}

#[test]
fn a_layer_that_reaches_up_is_found() {
    assert_eq!(layers("src/log/a.rs", "use crate::types::Ack;\nuse crate::raft::X;"), [2]);
    assert_eq!(layers("src/log/a.rs", "use crate::{disk::D,\n peer::{a, b as c}};"), [2, 2]);
    assert_eq!(layers("src/log/mod.rs", "fn f() {\n crate::node::start() }"), [2]);
    assert_eq!(layers("src/log/mod.rs", "pub(in crate::log) fn f() {} /* crate::node::x */"), []);
    assert_eq!(layers("src/types/mod.rs", "//! [x](crate::node::X)\nconst S: &str = \"crate::node::X\";"), []);
    assert_eq!(layers("src/seams/mod.rs", "use crate::server::S;"), []);
    assert_eq!(layers("src/lib.rs", "pub use node::Node; use crate::node::X;"), []);
    assert_eq!(layers("src/bin/dledger/main.rs", "use crate::serve::X;"), []);
}

#[test]
fn a_layer_that_uses_its_sibling_is_found() {
    assert_eq!(layers("src/format/a.rs", "use crate::disk::D;"), [1]);
    assert_eq!(layers("src/disk/a.rs", "use crate::disk::b::D;"), []);
}

#[test]
fn what_the_root_gives_out_belongs_to_its_layer() {
    assert_eq!(layers("src/raft/a.rs", "use crate::Ack;\nuse crate::Ledger;\nuse crate::Unheard;"), [2, 3]);
    assert_eq!(layers("src/server/a.rs", "use crate::{Ack, Ledger};"), []);
}

#[test]
fn a_path_that_climbs_to_the_root_is_followed() {
    assert_eq!(layers("src/log/a.rs", "use super::super::raft::X;"), [1]);
    assert_eq!(layers("src/raft/a.rs", "use super::super::log::X;\nuse super::log::Y;"), []);
    assert_eq!(layers("src/transport/grpc/a.rs", "use super::super::server::X;"), []);
    assert_eq!(layers("src/peer/a.rs", "mod tests { use super::super::server::X; }"), []);
    assert_eq!(layers("src/peer/a.rs", "mod tests { use super::super::super::server::X; }"), [1]);
}

#[test]
fn a_module_without_a_layer_is_found() {
    assert_eq!(layers("src/helpers.rs", "fn f() {}"), [1]);
}

#[test]
fn a_stray_openraft_is_found() {
    assert_eq!(lines(stray_openraft, "src/node/a.rs", "\nuse openraft::Raft;"), [2]);
    assert_eq!(lines(stray_openraft, "src/log/a.rs", "use openraft_rt as rt; // openraft"), [1]);
    assert_eq!(lines(stray_openraft, "src/raft/a.rs", "use openraft::Raft;"), []);
}

#[test]
fn a_stray_unsafe_is_found() {
    let text = "// unsafe\nfn f() { unsafe { g() } }\nunsafe impl Send for X {}";
    assert_eq!(lines(stray_unsafe, "src/log/a.rs", text), [2, 3]);
    assert_eq!(lines(stray_unsafe, HOLDS_UNSAFE, text), []);
    assert_eq!(lines(stray_unsafe, "src/a.rs", "#![deny(unsafe_op_in_unsafe_fn)]"), []);
}

#[test]
fn long_files_and_lines_are_found() {
    assert_eq!(lines(size, "src/a.rs", &"\n".repeat(MAX_LINES)), []);
    assert_eq!(lines(size, "src/a.rs", &"\n".repeat(MAX_LINES + 1)), [MAX_LINES + 1]);
    let line = format!("//{}", "ä".repeat(MAX_COLUMNS - 2));
    assert_eq!(lines(size, "src/a.rs", &line), []);
    assert_eq!(lines(size, "proto/a.proto", &format!("\n{line}x")), [2]);
}

#[test]
fn long_functions_are_found() {
    let long = format!(
        "fn short() {{}}\nfn long<const N: usize>(a: [u8; 4]) -> X {{\n{}}}",
        "a();\n".repeat(MAX_FUNCTION - 1)
    );
    assert_eq!(lines(long_functions, "src/a.rs", &long), [2]);
    assert_eq!(lines(long_functions, "src/a.rs", &long.replacen("a();\n", "", 1)), []);
    assert_eq!(lines(long_functions, "src/a.rs", &format!("mod tests {{ {long} }}")), []);
    assert_eq!(lines(long_functions, "src/a/tests/b.rs", &long), []);
    assert_eq!(
        lines(long_functions, "src/a.rs", &format!("trait A {{ fn a(); }}\nfn b(f: fn()) {{}}{}", "\n".repeat(80))),
        []
    );
}

#[test]
fn a_table_that_is_not_the_folder_is_found() {
    let files =
        ["src/a/mod.rs", "src/a/b.rs", "src/a/c/mod.rs", "src/a/c/d.rs", "src/a/b_tests.rs", "src/a/tests/e.rs"];
    let tables = |table: &str| {
        let text =
            |path: &str| if path == "src/a/mod.rs" { format!("//! A.\n{table}") } else { "//! | [`d`] | D |".into() };
        let all: Vec<_> = files.iter().map(|path| Source::new(path, &text(path))).collect();
        rooms::tables(&all)
    };
    assert_eq!(tables("//! | this | [`A`] |\n//! | `b`, [`c`] | B and C, see `x` |"), [""; 0]);
    assert_eq!(tables("//! | `b` | B |"), ["src/a/mod.rs:1: the table of the folder does not name c"]);
    assert_eq!(tables("//! | `b`, `c`, `x` | B |"), ["src/a/mod.rs:2: the table names x, which is not in this folder"]);
}

#[test]
fn a_document_that_names_what_is_not_there_is_found() {
    let places = |text: &str| lines(documents::places, "docs/a.md", text);
    assert_eq!(places("`tests/tidy.rs`, `log/mod`, `src/log`\n`log/there_is_none`"), [2]);
    assert_eq!(places("`data/orders`, `a / b`, `log/there is none`, log/there_is_none\n```\n`log/none`\n```"), []);
    let words = ["a_law_that_holds", "other"].into();
    let tests = |path, text: &str| lines(|document| documents::tests(document, &words), path, text);
    assert_eq!(tests("docs/a.md", "`a_law_that_holds`, `three_words_only`\n`a_law_that_is_gone`"), [2]);
    assert_eq!(tests("docs/findings.md", "`a_law_that_is_gone`"), []);
}

#[test]
fn a_table_of_layers_that_is_not_the_enforced_one_is_found() {
    let rows = LAYERS.iter().rev().map(|row| format!("| `{}` | what it is |\n", row.join("`, `")));
    let rows: Vec<_> = rows.collect();
    let found = |rows: &[String]| {
        let text = format!("# A\n| `none` |\n## Layers\n\n| layer |\n|---|\n{}\n| `none` |", rows.concat());
        lines(documents::layers, "docs/a.md", &text)
    };
    assert_eq!(found(&rows), []);
    assert_eq!(found(&rows[1..]), [7]);
    assert_eq!(found(&rows[..rows.len() - 1]), [1]);
}

#[test]
fn a_test_that_sleeps_is_found() {
    let text = "use std::thread;\nfn f() { thread::sleep(D); }\nuse tokio::time::{self, sleep};";
    assert_eq!(lines(sleep, "tests/a.rs", text), [2, 3]);
    assert_eq!(lines(sleep, "src/log/tests.rs", text), [2, 3]);
    assert_eq!(lines(sleep, "src/log/a_tests.rs", text), [2, 3]);
    assert_eq!(lines(sleep, "src/log/a.rs", text), []);
    assert_eq!(lines(sleep, "src/log/a.rs", &format!("mod tests {{ {text} }}")), [2, 3]);
    assert_eq!(lines(sleep, "tests/a.rs", "tokio::time::timeout(D, x);"), []);
}

#[test]
fn unfinished_code_is_found() {
    let text = "fn f() { todo!() }\nfn g() { unimplemented!(\"later\") }\nfn h() { dbg!(1); }";
    assert_eq!(lines(unfinished, "src/a.rs", text), [1, 2, 3]);
    assert_eq!(lines(unfinished, "src/a.rs", "fn f(todo: u8) -> bool { todo != 1 } // todo!()"), []);
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_found() {
    assert_eq!(lines(introduction, "src/a.rs", "// a\n//! b"), [1]);
    assert_eq!(lines(introduction, "src/a.rs", ""), [1]);
    assert_eq!(lines(introduction, "src/a.rs", "//! What it is."), []);
}

#[test]
fn a_proto_without_comments_is_found() {
    let bare = "message A {\n  uint64 a = 1;\n}\nenum E {\n  NONE = 0;\n  ONE = 1;\n}\n\
                service S {\n  rpc Get(A) returns (A) {}\n}\n// far\n\nmessage B {}";
    assert_eq!(lines(comments, "proto/a.proto", bare), [1, 2, 4, 6, 8, 9, 13]);
    let good = "syntax = \"proto3\";\n// A.\nmessage A {\n  oneof b {\n    // C.\n    A c = 1;\n  }\n  \
                uint64 d = 2; // D.\n}";
    assert_eq!(lines(comments, "proto/a.proto", good), []);
}

#[test]
fn a_log_line_of_no_ledger_is_found() {
    let found = |path, text: &str| lines(of_no_ledger, path, text);
    let text = "fn f() {\n tracing::warn!(%error, \"x\");\n info!(group = %g, \"x\");\n error!(%group, \
                a = b(c), \"x\");\n warn!(file = %f, \"y\"); debug!(\"z\");\n}";
    assert_eq!(found("src/log/a.rs", text), [2]);
    assert_eq!(found("src/node/a.rs", text), []);
}

#[test]
fn debug_output_in_a_log_is_found() {
    let found = |text: &str| lines(debug_output, "src/a.rs", text);
    assert_eq!(found("fn f() {\n tracing::warn!(?error, \"x\");\n}"), [2]);
    assert_eq!(found("fn f() { tracing::info!(\n%a,\nb = ?c, \"x\"); }"), [3]);
    assert_eq!(found("fn f() { error!(\n\"in {:?}\", f(a)); }"), [2]);
    assert_eq!(found("fn f() { error!(\"in {a:?} and {b:#?}\"); }"), [1]);
    assert_eq!(found("fn f() { info!(%a, b = %c?, \"x {d}\");\ndebug!(?error, \"{e:?}\"); format!(\"{e:?}\"); }"), []);
}
