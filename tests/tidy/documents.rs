//! What the documents say of the source: each file, folder and test that they name is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::LAYERS;
use super::source::Source;

/// The documents that name places in the source. What the changelog names may be gone.
pub(crate) fn documents() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs")).expect("the documents can be listed");
    let pages = pages.map(|page| format!("docs/{}", page.expect("it can be listed").file_name().display()));
    let mut names: Vec<_> = pages.chain(["README.md", "CONTRIBUTING.md"].map(String::from)).collect();
    names.sort();
    names.iter().map(|name| Source::new(name, &std::fs::read_to_string(root.join(name)).expect("it is text"))).collect()
}

/// The table of layers in `docs/architecture.md` is the one that the rules enforce.
pub(crate) fn layers(architecture: &Source) -> Vec<String> {
    let mut rows = Vec::new();
    let lines = (1..).zip(architecture.text.lines()).skip_while(|(_, text)| *text != "## Layers");
    for (line, text) in
        lines.skip_while(|(_, text)| !text.starts_with('|')).take_while(|(_, text)| text.starts_with('|'))
    {
        let cell = text.split('|').nth(1).unwrap_or_default();
        let names: BTreeSet<_> = code(cell).collect();
        if !names.is_empty() {
            rows.push((line, names));
        }
    }
    let expected: Vec<BTreeSet<_>> = LAYERS.iter().rev().map(|row| row.iter().copied().collect()).collect();
    let differ = expected.iter().zip(&rows).find(|(expected, (_, row))| *expected != row);
    let say = |line, row: &BTreeSet<_>| architecture.finding(line, format!("the row of tidy's LAYERS is {row:?}"));
    match differ {
        Some((expected, (line, _))) => vec![say(*line, expected)],
        None if rows.len() != expected.len() => {
            vec![architecture.finding(1, format!("{} rows of layers, LAYERS has {}", rows.len(), expected.len()))]
        }
        None => Vec::new(),
    }
}

/// Places of the source that a document names and that are not there.
pub(crate) fn places(document: &Source) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = |place: &str| {
        let place = place.trim_end_matches('/');
        let tried = [place.into(), format!("src/{place}"), format!("src/{place}.rs"), format!("{place}.rs")];
        tried.iter().any(|path| root.join(path).exists())
    };
    each_code(document, |line, word| {
        let first = word.split('/').next().unwrap_or_default();
        // Paths that begin where a reader of the source begins; a directory of a node begins elsewhere.
        let ours = !first.is_empty()
            && word.contains('/')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c))
            && (ROOTS.contains(&first) || root.join("src").join(first).is_dir());
        (ours && !there(word)).then(|| document.finding(line, format!("{word} is not in the tree")))
    })
}

/// Where paths begin that are meant from the root of the repository.
const ROOTS: [&str; 7] = ["src", "tests", "proto", "docs", "examples", "benches", ".ci"];

/// Documents that name what is in other programs: openraft, DLedger, the kernel.
const NAME_OTHERS: [&str; 3] = ["docs/findings.md", "docs/from-dledger.md", "docs/performance.md"];

/// Tests that a document names and that are not there: what is in backticks and has four words or more. A macro may
/// make a test, so any word of the source will do.
pub(crate) fn tests(document: &Source, words: &BTreeSet<&str>) -> Vec<String> {
    if NAME_OTHERS.contains(&&*document.path) {
        return Vec::new();
    }
    each_code(document, |line, word| {
        let is_test = word.split('_').count() > 3 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (is_test && !words.contains(word)).then(|| document.finding(line, format!("there is no test {word}")))
    })
}

/// Findings about each piece of a document that stands in backticks, outside of blocks.
fn each_code(document: &Source, look: impl Fn(usize, &str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (line, text) in (1..).zip(document.text.lines()) {
        if text.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(code(text).filter_map(|word| look(line, word)));
        }
    }
    found
}

/// The pieces of a line that stand in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
