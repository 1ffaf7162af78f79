//! The table of all scenarios: first what failed, and one line for all seeds of a scenario where there are many.

use std::collections::BTreeMap;
use std::fmt::Write;

use dledger_history::Verdict;

use super::escape::html;
use super::summary::Summary;
use super::{Run, Scenario, people};

/// So many scenarios of one name have a line each.
const ALONE: usize = 6;

/// The table.
pub(super) fn table(run: &Run) -> String {
    if run.scenarios().is_empty() {
        return "<p class=\"nothing\">This run has no scenario.</p>".to_owned();
    }
    let mut out = String::from(
        "<div class=\"scroll\"><table class=\"summary\"><thead><tr><th scope=\"col\">Verdict</th>\
         <th scope=\"col\">Scenario</th><th scope=\"col\">Seed</th><th scope=\"col\" class=\"n\">Length</th>\
         <th scope=\"col\" class=\"n\">Calls</th><th scope=\"col\" class=\"n\">Acked records</th>\
         <th scope=\"col\" class=\"n\">Failed</th><th scope=\"col\" class=\"n\">Unknown</th>\
         <th scope=\"col\" class=\"n\" title=\"installed, observed and removed, of all\">Faults proven</th>\
         <th scope=\"col\" class=\"n\" title=\"the longest time in which an append was wanted and none was \
         acknowledged\">Longest without ack</th><th scope=\"col\" class=\"n\" title=\"from the end of the last fault \
         until every node knew to be committed what any node knew then\">Time to agree</th></tr></thead><tbody>",
    );
    let mut of_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, scenario) in run.scenarios().iter().enumerate() {
        of_name.entry(scenario.name()).or_default().push(i);
    }
    let mut alone: Vec<usize> = Vec::new();
    let mut together: Vec<Vec<usize>> = Vec::new();
    for all in of_name.into_values() {
        let (passed, others): (Vec<usize>, Vec<usize>) =
            all.iter().partition(|&&i| run.scenarios()[i].verdict() == Verdict::Pass);
        alone.extend(others);
        if passed.len() > ALONE { together.push(passed) } else { alone.extend(passed) }
    }
    alone.sort_by_key(|&i| (rank(run.scenarios()[i].verdict()), i));
    for i in alone {
        line(&mut out, i, &run.scenarios()[i]);
    }
    for all in together {
        group(&mut out, run, &all);
    }
    out.push_str("</tbody></table></div>");
    out
}

/// Worst first.
pub(super) fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fail => 0,
        Verdict::Invalid => 1,
        Verdict::Pass => 2,
    }
}

/// `✕ fail`: a shape and a word besides the colour.
pub(super) fn badge(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "<span class=\"verdict pass\">✓ pass</span>",
        Verdict::Fail => "<span class=\"verdict fail\">✕ fail</span>",
        Verdict::Invalid => "<span class=\"verdict invalid\">◇ invalid</span>",
    }
}

fn line(out: &mut String, i: usize, scenario: &Scenario) {
    let name = html(scenario.name());
    let name = match &scenario.shown {
        Some(_) => format!("<a href=\"#s{i}\">{name}</a>"),
        None => name,
    };
    let seed = scenario.seed.map_or("–".to_owned(), |seed| format!("<code>{seed}</code>"));
    numbers(out, scenario.verdict(), &name, &seed, &scenario.summary);
}

/// Those that passed, in one line.
fn group(out: &mut String, run: &Run, all: &[usize]) {
    let scenarios = || all.iter().map(|&i| &run.scenarios()[i]);
    let Some(first) = scenarios().next() else { return };
    let sum = scenarios().map(|one| one.summary).reduce(Summary::and).unwrap_or_default();
    let mut name = format!("{} <small>× {}</small>", html(first.name()), people::count(all.len() as u64));
    for (nth, &i) in all.iter().filter(|&&i| run.scenarios()[i].shown.is_some()).enumerate() {
        _ = write!(name, "{} <a href=\"#s{i}\">example {}</a>", if nth == 0 { "" } else { "," }, nth + 1);
    }
    let seeds: Vec<u64> = scenarios().filter_map(|one| one.seed).collect();
    let seeds = match (seeds.iter().min(), seeds.iter().max()) {
        (Some(least), Some(most)) => format!("{} seeds<br><code>{least}</code> to <code>{most}</code>", seeds.len()),
        _ => "–".to_owned(),
    };
    numbers(out, Verdict::Pass, &name, &seeds, &sum);
}

fn numbers(out: &mut String, verdict: Verdict, name: &str, seed: &str, sum: &Summary) {
    let faults = match sum.faults {
        0 => "none".to_owned(),
        all if sum.proven == all => format!("{0} of {0}", people::count(all)),
        all => format!("<strong class=\"warn\">{} of {}</strong>", people::count(sum.proven), people::count(all)),
    };
    let time = |nanos: Option<u64>| nanos.map_or("–".to_owned(), people::duration);
    _ = write!(
        out,
        "<tr class=\"{}\"><td>{}</td><th scope=\"row\">{name}</th><td>{seed}</td>",
        match verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Invalid => "invalid",
        },
        badge(verdict)
    );
    let cells = [
        people::duration(sum.length),
        people::count(sum.calls),
        people::count(sum.acked),
        people::count(sum.failed),
        people::count(sum.unknown),
        faults,
        time(sum.longest),
        time(sum.agree),
    ];
    for cell in cells {
        _ = write!(out, "<td class=\"n\">{cell}</td>");
    }
    out.push_str("</tr>");
}
