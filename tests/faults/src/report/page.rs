//! The whole page.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use dledger_history::Verdict;

use super::escape::html;
use super::section::section;
use super::summary::Summary;
use super::table::{badge, rank, table};
use super::{Run, people};

const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] =
    [include_str!("draw.js"), include_str!("lanes.js"), include_str!("timeline.js"), include_str!("page.js")];

/// The page of `run`: one HTML file that needs nothing else.
pub fn page(run: &Run) -> String {
    let body = body(run);
    // Should a text of a history ever get past the escapes, the browser would still run nothing but what has this
    // word, and nobody knows it before the page is made.
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let nonce = format!("{:016x}", hasher.finish());
    let policy = format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; base-uri 'none'");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\"><title>{} · dledger faults</title>\
         <style>{STYLE}</style></head><body>{body}",
        html(run.title())
    );
    for script in SCRIPTS {
        _ = write!(out, "<script nonce=\"{nonce}\">{script}</script>");
    }
    out.push_str("</body></html>\n");
    out
}

fn body(run: &Run) -> String {
    let scenarios = run.scenarios();
    let of = |verdict| scenarios.iter().filter(|one| one.verdict() == verdict).count() as u64;
    let (failed, invalid, all) = (of(Verdict::Fail), of(Verdict::Invalid), scenarios.len() as u64);
    let (verdict, said) = match (failed, invalid) {
        (0, 0) if all == 0 => (Verdict::Invalid, "Nothing was run.".to_owned()),
        (0, 0) => (Verdict::Pass, format!("{} passed.", people::many(all, "scenario"))),
        (0, n) => (
            Verdict::Invalid,
            format!("{} of {} did not prove what it claims.", people::count(n), people::many(all, "scenario")),
        ),
        (n, _) => (Verdict::Fail, format!("{} of {} failed.", people::count(n), people::many(all, "scenario"))),
    };
    let mut out = format!(
        "<header><div><p class=\"brand\">dledger · fault tests</p><h1>{}</h1></div>\
         <button type=\"button\" id=\"theme\" title=\"light, dark, or as the system has it\">theme: system</button>\
         </header><main><noscript><p class=\"card invalid\">Without JavaScript the tables are all there is: the \
         timelines are drawn by the browser.</p></noscript><p class=\"said\">{} {said}</p>",
        html(run.title()),
        badge(verdict)
    );
    if all > 0 {
        let sum = scenarios.iter().map(|one| one.summary).reduce(Summary::and).unwrap_or_default();
        figures(&mut out, &sum);
    }
    out.push_str(&table(run));
    let mut order: Vec<usize> = (0..scenarios.len()).collect();
    order.sort_by_key(|&i| (rank(scenarios[i].verdict()), i));
    for i in order {
        out.push_str(&section(i, &scenarios[i]));
    }
    out.push_str("<div id=\"tip\" role=\"tooltip\" hidden></div></main>");
    out
}

fn figures(out: &mut String, sum: &Summary) {
    let faults = match sum.faults {
        0 => "none".to_owned(),
        all => format!("{} of {}", people::count(sum.proven), people::count(all)),
    };
    let time = |nanos: Option<u64>| nanos.map_or("–".to_owned(), people::duration);
    let all = [
        (people::count(sum.calls), "calls"),
        (people::count(sum.acked), "records acked"),
        (people::count(sum.unknown), "calls of unknown outcome"),
        (faults, "faults proven"),
        (time(sum.longest), "longest without an ack"),
        (time(sum.agree), "longest time to agree"),
        (people::duration(sum.length), "of histories"),
    ];
    out.push_str("<dl class=\"figures\">");
    for (value, what) in all {
        _ = write!(out, "<div><dt>{what}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>");
}
