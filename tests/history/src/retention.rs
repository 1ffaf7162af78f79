//! Whether records were removed only where that was asked for.

use std::collections::HashMap;

use crate::Law;
use crate::calls::{CallId, Calls, End};
use crate::findings::{Findings, moment};

/// Where logs begin, and where they were asked to.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Nodes may remove by themselves.
    pub(super) by_itself: bool,
    asked: Vec<(CallId, u64)>,
    begins: Vec<Begins>,
    /// Where each node was last said to begin, so that each beginning is checked once.
    nodes: HashMap<String, u64>,
}

/// A client or a status saw that a log begins above index 0.
#[derive(Debug)]
struct Begins {
    at: u64,
    first: u64,
    node: Option<String>,
    call: Option<CallId>,
}

impl Retention {
    pub(super) fn asked(&mut self, call: CallId, index: u64) {
        self.asked.push((call, index));
    }

    /// A reader was told that the log begins at `first`.
    pub(super) fn told(&mut self, at: u64, first: u64, call: CallId) {
        if !self.by_itself {
            self.begins.push(Begins { at, first, node: None, call: Some(call) });
        }
    }

    /// A node holds nothing below `first`.
    pub(super) fn node(&mut self, at: u64, first: u64, node: &str) {
        if self.by_itself || first == 0 || self.nodes.get(node) == Some(&first) {
            return;
        }
        self.nodes.insert(node.to_owned(), first);
        self.begins.push(Begins { at, first, node: Some(node.to_owned()), call: None });
    }

    pub(super) fn finish(mut self, calls: &Calls, findings: &mut Findings) {
        // In the order of their calls; from each on, the highest index asked for so far.
        self.asked.retain(|(call, _)| calls.get(*call).end != End::Failed);
        let mut highest = 0;
        for (_, index) in &mut self.asked {
            highest = highest.max(*index);
            *index = highest;
        }
        for Begins { at, first, node, call } in self.begins {
            let before = self.asked.partition_point(|(call, _)| calls.get(*call).at <= at);
            let allowed = before.checked_sub(1).map_or(0, |last| self.asked[last].1);
            if first <= allowed {
                continue;
            }
            findings.broken(Law::Retention, |mut about| {
                let mut who = String::new();
                if let Some(node) = &node {
                    (about, who) = (about.node(node), format!("On {node}"));
                }
                if let Some(call) = call {
                    who = format!("By what {} was told,", calls.words(call));
                    about = about.op(calls.get(call).op);
                }
                let asked = match allowed {
                    0 => "nobody had asked for records to be removed".to_owned(),
                    _ => format!("nobody had asked for more to be removed than those below {allowed}"),
                };
                let when = moment(at);
                about.index(first).at(at).says(format!("{who} the log began at index {first} at {when}, and {asked}."))
            });
        }
    }
}
