//! The patches, without building one: each applies, and names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::detector::Runs;
use super::scratch::git_apply;
use super::*;

#[test]
fn every_patch_applies() {
    let patches = Patch::all().unwrap();
    // A commit that removes a mutant changes this number too.
    assert_eq!(patches.len(), 37);
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: every_patch_applies, git cannot be run");
        return;
    }
    let checked = patches.iter().map(|patch| git_apply(&root(), &patch.path, &["--check"]));
    let failed: Vec<_> = checked.filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_patch_names_tests_that_exist() {
    for patch in Patch::all().unwrap() {
        assert!(!patch.files.is_empty() && patch.files.iter().all(|file| file.starts_with("src")), "{patch:?}");
        for detector in &patch.detectors {
            assert!(exists(&detector.runs), "{}: there is no test {detector}", patch.name);
        }
    }
}

/// Whether a test has the whole name that is filtered by: a part of it could come to mean others.
fn exists(runs: &Runs) -> bool {
    match runs {
        Runs::Test { package, target, filter } => {
            let package = match package.strip_prefix("dledger-") {
                Some(name) => root().join("tests").join(name),
                None => root(),
            };
            let mut files = Vec::new();
            match target {
                None => sources(&package.join("src"), &mut files),
                Some(target) => {
                    files.push(package.join(format!("tests/{target}.rs")));
                    sources(&package.join("tests").join(target), &mut files);
                }
            }
            files.iter().any(|file| names(&fs::read_to_string(file).unwrap_or_default(), filter))
        }
        Runs::Faults(arguments) => arguments
            .iter()
            .filter_map(|argument| argument.strip_prefix("--only="))
            .any(|name| crate::scenario::all().iter().any(|scenario| scenario.name == name)),
    }
}

/// Whether `text` defines a test `name`, or gives its name to a macro that does.
fn names(text: &str, name: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        line.split_once(name).is_some_and(|(before, after)| {
            let defined = before.ends_with("fn ") && after.starts_with('(');
            defined || before.is_empty() && [";", ","].contains(&after)
        })
    })
}

fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_layer_has_a_mutant_to_catch() {
    let patches = Patch::all().unwrap();
    for (layer, _) in Layer::ALL {
        let there = patches.iter().any(|patch| patch.detectors.iter().any(|detector| detector.layer == *layer));
        assert!(there, "{layer}: no mutant shows that it finds anything");
    }
}

#[test]
fn a_name_that_there_is_not_is_an_error() {
    let error = chosen(&["Nobody".into()]).unwrap_err();
    assert!(error.contains("Nobody") && error.contains("AckBeforeSync"), "{error}");
}
