//! Reads the source tree, as far as the rules need to understand it.

use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A file of the tree.
pub(crate) struct Source {
    /// From the root of the crate, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Empty unless Rust.
    pub(crate) tokens: Vec<Token>,
}

/// A word or sign of the code; no comment, no literal.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Modules of this file it lies in.
    depth: usize,
    /// Whether one of them is named `tests`.
    pub(crate) test: bool,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Of the word `fn`.
    pub(crate) line: usize,
    /// From there to the closing brace.
    pub(crate) lines: usize,
    pub(crate) test: bool,
}

/// A path of at least two segments as it is used; groups of a `use` are written out.
pub(crate) struct UsedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    depth: usize,
    pub(crate) test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut source = Self { path: path.into(), text: text.into(), tokens: Vec::new() };
        if path.ends_with(".rs") {
            let stream = text.parse().unwrap_or_else(|e| panic!("{path}: {e}: it is not Rust"));
            flatten(stream, 0, false, &mut source.tokens);
        }
        source
    }

    pub(crate) fn finding(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }

    /// The module the file is, from the crate's root. `None` for files that are no part of the library.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let segments = path.split('/').filter(|s| !matches!(*s, "mod" | "lib")).collect::<Vec<_>>();
        (segments.first() != Some(&"bin")).then_some(segments)
    }

    /// Whether all of it is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|dir| dir == "tests") || self.path.trim_end_matches(".rs").ends_with("tests")
    }

    /// Code of the packages under `tests/`, which tests use and which is no test.
    fn is_tool(&self) -> bool {
        self.path.starts_with("tests/") && self.path.split('/').nth(2) == Some("src")
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let named = (0..self.tokens.len()).filter(|at| self.is(*at, "fn") && self.is_word(at + 1));
        let function = |at: usize| {
            let open = self.skip(at + 2, |at| self.is(at, "{") || self.is(at, ";"))?;
            if self.is(open, ";") {
                return None; // of a trait, without a body
            }
            let close = self.skip(open + 1, |at| self.is(at, "}"))?;
            let Token { line, test, .. } = self.tokens[at];
            let lines = self.tokens[close].line - line + 1;
            Some(Function {
                name: self.tokens[at + 1].text.clone(),
                line,
                lines,
                test: test || (self.is_test() && !self.is_tool()),
            })
        };
        named.filter_map(function).collect()
    }

    pub(crate) fn paths(&self) -> Vec<UsedPath> {
        let (mut paths, mut at) = (Vec::new(), 0);
        while at < self.tokens.len() {
            at = if self.is_word(at) && self.is(at + 1, "::") && !(at > 0 && self.is(at - 1, "::")) {
                self.read_path(at, Vec::new(), &mut paths)
            } else {
                at + 1
            };
        }
        paths
    }

    /// The first such token from here on that is not inside brackets which begin behind here.
    fn skip(&self, from: usize, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let mut depth = 0;
        (from..self.tokens.len()).find(|at| {
            let found = depth == 0 && wanted(*at);
            depth += match &*self.tokens[*at].text {
                "(" | "[" | "{" => 1,
                ")" | "]" | "}" => -1,
                _ => 0,
            };
            found
        })
    }

    /// Reads the path at a word, and gives back where it ends.
    fn read_path(&self, mut at: usize, mut segments: Vec<String>, paths: &mut Vec<UsedPath>) -> usize {
        let first = &self.tokens[at];
        loop {
            segments.push(self.tokens[at].text.clone());
            at += 1;
            if !self.is(at, "::") {
                break;
            }
            if self.is(at + 1, "{") {
                at += 2;
                while at < self.tokens.len() && !self.is(at, "}") {
                    at = match &*self.tokens[at].text {
                        "as" => at + 2,
                        _ if self.is_word(at) => self.read_path(at, segments.clone(), paths),
                        _ => at + 1,
                    };
                }
                return at + 1;
            }
            if !self.is_word(at + 1) {
                break;
            }
            at += 1;
        }
        paths.push(UsedPath { segments, line: first.line, depth: first.depth, test: first.test });
        at
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.text == text)
    }

    fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|t| t.text.starts_with(|c: char| c.is_alphabetic() || c == '_'))
    }
}

impl UsedPath {
    /// The name in the crate's root that the path goes through, if it does, used in a file so many modules deep.
    pub(crate) fn at_root(&self, file_depth: usize) -> Option<&str> {
        let rest = &self.segments[usize::from(self.segments[0] == "self")..];
        let up = rest.iter().take_while(|s| *s == "super").count();
        match rest.first().map(String::as_str) {
            Some("crate") => rest.get(1).map(String::as_str),
            Some("super") if up >= file_depth + self.depth => rest.get(up).map(String::as_str),
            _ => None,
        }
    }
}

fn flatten(stream: TokenStream, depth: usize, test: bool, tokens: &mut Vec<Token>) {
    let token = |text: &str, line| Token { text: text.into(), line, depth, test };
    let mut stream = stream.into_iter().peekable();
    let mut before = [String::new(), String::new()];
    while let Some(tree) = stream.next() {
        let line = tree.span().start().line;
        let text = match &tree {
            TokenTree::Ident(word) => word.to_string(),
            TokenTree::Punct(sign) if sign.as_char() == ':' && sign.spacing() == Spacing::Joint => {
                stream.next_if(|next| matches!(next, TokenTree::Punct(p) if p.as_char() == ':'));
                "::".into()
            }
            TokenTree::Punct(sign) => sign.as_char().to_string(),
            TokenTree::Literal(_) => "\"\"".into(),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                let module = before[0] == "mod" && open == "{";
                let in_tests = test || (module && before[1].ends_with("tests"));
                tokens.push(token(open, line));
                flatten(group.stream(), depth + usize::from(module), in_tests, tokens);
                tokens.push(token(close, group.span_close().start().line));
                before = Default::default();
                continue;
            }
        };
        tokens.push(token(&text, line));
        before = [std::mem::take(&mut before[1]), text];
    }
}

/// All files of the tree with this extension.
pub(crate) fn sources(extension: &str) -> Vec<Source> {
    fn walk(root: &Path, dir: &Path, extension: &str, all: &mut Vec<Source>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for path in entries.map(|entry| entry.expect("the tree can be listed").path()) {
            if path.is_dir() && !path.ends_with("target") {
                walk(root, &path, extension, all);
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root).expect("it lies under the root").display().to_string();
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                all.push(Source::new(&name, &text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![Source::new("build.rs", &std::fs::read_to_string(root.join("build.rs")).expect("it is there"))];
    all.retain(|_| extension == "rs");
    for dir in ["src", "proto", "tests", "examples", "benches"] {
        walk(root, &root.join(dir), extension, &mut all);
    }
    assert!(!all.is_empty(), "no .{extension} file under {}: the rules would check nothing", root.display());
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}
