//! The section of a scenario: what was broken, how to run it again, the timeline, the faults.

use std::fmt::Write;

use dledger_history::{Verdict, Violation};

use super::calls::Outcome;
use super::escape::html;
use super::faults::{Fault, word};
use super::scenario::{MarkedCall, Shown};
use super::strips::strips;
use super::table::badge;
use super::{Scenario, people};

/// The section of the scenario `number`; nothing for one that is only counted.
pub(super) fn section(number: usize, scenario: &Scenario) -> String {
    let Some(shown) = &scenario.shown else { return String::new() };
    let mut out = String::new();
    let open = if scenario.verdict == Verdict::Pass { "" } else { " open" };
    _ = write!(
        out,
        "<details class=\"scenario\" id=\"s{number}\" data-timeline=\"data-{number}\"{open}><summary>{}<h2>{}</h2>\
         <span class=\"muted\">{}</span></summary>",
        badge(scenario.verdict),
        html(&scenario.name),
        about(scenario)
    );
    replay(&mut out, scenario);
    if shown.from > 0 {
        _ = write!(
            out,
            "<p class=\"muted\">Moments are told from the first event on, which was at {} of the history's clock.</p>",
            people::moment(shown.from)
        );
    }
    invalid(&mut out, shown);
    for (i, violation) in shown.violations.iter().enumerate() {
        explain(&mut out, i, violation, shown);
    }
    let more = scenario.violations.saturating_sub(shown.violations.len() as u64);
    if more > 0 {
        _ = write!(
            out,
            "<p class=\"muted\">… and {} more: <code>dledger-faults check</code> tells them.</p>",
            people::count(more)
        );
    }
    out.push_str(&strips(number, &shown.timeline));
    faults(&mut out, shown);
    notes(&mut out, shown);
    out.push_str("</details>");
    out
}

fn about(scenario: &Scenario) -> String {
    let sum = &scenario.summary;
    let mut parts: Vec<String> = scenario.seed.map(|seed| format!("seed {seed}")).into_iter().collect();
    parts.push(people::duration(sum.length));
    parts.push(people::many(sum.calls, "call"));
    parts.push(people::many(sum.faults, "fault"));
    if scenario.violations > 0 {
        parts.push(people::many(scenario.violations, "violation"));
    }
    parts.join(" · ")
}

fn replay(out: &mut String, scenario: &Scenario) {
    if let Some(command) = &scenario.replay {
        _ = write!(
            out,
            "<div class=\"replay\"><span class=\"muted\">run it again</span><code>{}</code>\
             <button type=\"button\" class=\"copy\">copy</button></div>",
            html(command)
        );
    }
}

fn invalid(out: &mut String, shown: &Shown) {
    if shown.invalid.is_empty() {
        return;
    }
    out.push_str("<section class=\"card invalid\"><h3>◇ Proves less than it claims</h3><ul>");
    for reason in &shown.invalid {
        _ = write!(out, "<li>{}</li>", html(reason));
    }
    let more = shown.invalid_all.saturating_sub(shown.invalid.len() as u64);
    if more > 0 {
        _ = write!(out, "<li>… and {} more</li>", people::count(more));
    }
    out.push_str("</ul></section>");
}

/// What was broken, in words, with the calls that contradict each other.
fn explain(out: &mut String, i: usize, violation: &Violation, shown: &Shown) {
    let index = violation.index.map_or(String::new(), |index| format!(" at index {}", people::count(index)));
    _ = write!(
        out,
        "<section class=\"card violation\"><h3>✕ Law <code>{}</code> broken{index}</h3><p>{}</p>",
        html(violation.law.slug()),
        html(&violation.explanation)
    );
    let calls: Vec<&MarkedCall> = shown.calls.iter().filter(|call| call.violation == i).collect();
    if !calls.is_empty() {
        out.push_str(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Call</th><th scope=\"col\">Client</th>\
             <th scope=\"col\">Asked</th><th scope=\"col\">Outcome</th><th scope=\"col\">Answer</th>\
             <th scope=\"col\" class=\"n\">From</th><th scope=\"col\" class=\"n\">To</th>\
             <th scope=\"col\" class=\"n\">Took</th></tr></thead><tbody>",
        );
        for call in calls {
            marked(out, call, shown.from);
        }
        out.push_str("</tbody></table></div>");
    }
    let mut rest: Vec<String> = Vec::new();
    let listed = shown.calls.iter().filter(|call| call.violation == i).count();
    if violation.ops.len() > listed {
        rest.push(format!("{} more of the history", people::many((violation.ops.len() - listed) as u64, "call")));
    }
    if !violation.nodes.is_empty() {
        rest.push(format!("nodes: {}", violation.nodes.iter().map(|node| html(node)).collect::<Vec<_>>().join(", ")));
    }
    if let Some(at) = violation.at {
        rest.push(format!("seen at {}", people::moment(at.saturating_sub(shown.from))));
    }
    _ = write!(out, "<p class=\"foot\"><span class=\"muted\">{}</span>", rest.join(" · "));
    _ = write!(out, "<button type=\"button\" class=\"goto\" data-violation=\"{i}\">show on the timeline</button></p>");
    out.push_str("</section>");
}

fn marked(out: &mut String, call: &MarkedCall, from: u64) {
    let (class, text) = match call.outcome {
        Outcome::Ok => ("ok", "ok"),
        Outcome::Fail => ("fail", "failed"),
        Outcome::Unknown => ("unknown", "unknown"),
    };
    _ = write!(
        out,
        "<tr><td><b class=\"mark\">{}</b> <small>#{}</small></td><td>{}</td><td>{}</td>\
         <td><i class=\"sw {class}\"></i>{text}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td></tr>",
        call.label,
        call.op,
        call.client,
        html(&call.asked),
        html(&call.answered),
        people::moment(call.start - from),
        people::moment(call.end - from),
        people::duration(call.end - call.start)
    );
}

fn faults(out: &mut String, shown: &Shown) {
    out.push_str("<h3>Faults</h3>");
    if shown.faults.is_empty() {
        out.push_str("<p class=\"muted\">None: nothing was done to the nodes, or nobody wrote it down.</p>");
        return;
    }
    out.push_str(
        "<div class=\"scroll tall\"><table class=\"faults\"><thead><tr><th scope=\"col\">Fault</th>\
         <th scope=\"col\">Kind</th><th scope=\"col\">Nodes</th><th scope=\"col\" class=\"n\">Installed</th>\
         <th scope=\"col\" class=\"n\">Observed</th><th scope=\"col\" class=\"n\">Removed</th>\
         <th scope=\"col\">Proven</th><th scope=\"col\">Evidence</th><th scope=\"col\"></th></tr></thead><tbody>",
    );
    for (i, fault) in shown.faults.iter().enumerate() {
        one_fault(out, i, fault, shown.from);
    }
    out.push_str("</tbody></table></div>");
}

fn one_fault(out: &mut String, i: usize, fault: &Fault, from: u64) {
    use dledger_history::FaultPhase::{Installed, Observed, Removed};
    _ = write!(
        out,
        "<tr><td>#{}</td><th scope=\"row\">{}</th><td>{}</td>",
        fault.number,
        html(&fault.kind),
        html(&fault.nodes.join(", "))
    );
    for phase in [Installed, Observed, Removed] {
        let when = fault.first(phase).map_or("never".to_owned(), |at| people::moment(at.saturating_sub(from)));
        _ = write!(out, "<td class=\"n\">{when}</td>");
    }
    let lacks = fault.lacks();
    let proven = match lacks.is_empty() {
        true => "<td class=\"yes\">✓ yes</td>".to_owned(),
        false => format!("<td><strong class=\"warn\">◇ never {}</strong></td>", lacks.join(", nor ")),
    };
    out.push_str(&proven);
    let evidence = fault.phases.iter().filter(|one| !one.evidence.is_empty());
    let evidence: Vec<String> = evidence
        .take(8)
        .map(|one| format!("<li>{}: {}</li>", word(one.phase), html(&people::shortened(&one.evidence, 400))))
        .collect();
    let evidence = if evidence.is_empty() { "–".to_owned() } else { format!("<ul>{}</ul>", evidence.concat()) };
    _ = write!(
        out,
        "<td>{evidence}</td><td><button type=\"button\" class=\"goto\" data-fault=\"{i}\">show</button></td></tr>"
    );
}

fn notes(out: &mut String, shown: &Shown) {
    if shown.notes.is_empty() {
        return;
    }
    out.push_str("<h3>Notes</h3><ul class=\"notes\">");
    for (at, text) in &shown.notes {
        let text = html(&people::shortened(text, 600));
        _ = write!(out, "<li><time>{}</time> {text}</li>", people::moment(at.saturating_sub(shown.from)));
    }
    out.push_str("</ul>");
}
