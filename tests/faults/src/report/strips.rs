//! The frame of a timeline: a label for each strip, and room for what `draw.js` draws beside it.

use std::fmt::Write;

use super::escape::html;
use super::people;
use super::timeline::{LaneLabel, Timeline};

/// Pixels of a row of faults: `draw.js` counts on it.
const FAULT_ROW: usize = 26;

/// The strips of the timeline `number`, with the data and the buttons.
pub(super) fn strips(number: usize, timeline: &Timeline) -> String {
    let mut out = String::new();
    out.push_str(BAR);
    out.push_str(LEGEND);
    let about = "Timeline. Arrow keys move, plus and minus zoom, 0 shows all, brackets go from event to event.";
    _ = write!(out, "<div class=\"strips\" tabindex=\"0\" role=\"group\" aria-label=\"{about}\">");
    row(&mut out, "axis", 0, 26, "<span class=\"muted\">time</span>", "");
    row(&mut out, "overview", 0, 36, "overview<small>drag the window</small>", "");
    heading(&mut out, "Faults");
    match timeline.fault_rows {
        0 => empty(&mut out, "no faults in this history"),
        rows => {
            row(&mut out, "faults", 0, (rows * FAULT_ROW + 6).max(36), "faults<small>hover for evidence</small>", "")
        }
    }
    heading(&mut out, "Leader and term");
    if timeline.has_status {
        for (i, node) in timeline.nodes.iter().enumerate() {
            row(&mut out, "role", i, 24, &name(node), "");
        }
    } else {
        empty(&mut out, "no node said anything of itself in this history");
    }
    heading(&mut out, "Progress");
    if timeline.has_status {
        let keys: String = timeline.nodes.iter().enumerate().map(|(i, node)| key(i, node)).collect();
        row(&mut out, "committed", 0, 110, &format!("committed<small>{keys}</small>"), "");
    }
    if timeline.has_appends {
        let windows = match timeline.windows {
            0 => "none ≥ 0.5 s".to_owned(),
            n => people::count(n as u64) + " × ≥ 0.5 s",
        };
        row(&mut out, "windows", 0, 34, &format!("no ack<small>{windows}</small>"), "");
        row(&mut out, "rate", 0, 84, "acked records/s<small>stripe: appends not acked</small>", "");
        let keys = "<span class=\"key k0\">p50</span> <span class=\"key k1\">p99</span> log scale";
        row(&mut out, "latency", 0, 84, &format!("append latency<small>{keys}</small>"), "");
    } else {
        empty(&mut out, "no appends in this history");
    }
    heading(&mut out, "Clients");
    if timeline.lanes.is_empty() {
        empty(&mut out, "no client called anything in this history");
    }
    for (i, lane) in timeline.lanes.iter().enumerate() {
        let height = lane.rows * 10 + 8 + if lane.has_bins { 18 } else { 0 };
        row(&mut out, "lane", i, height.max(34), &lane_label(lane), "");
    }
    row(&mut out, "axis", 1, 26, "<span class=\"muted\">time</span>", "");
    out.push_str("<canvas></canvas><div class=\"cursor\" hidden></div><div class=\"select\" hidden></div></div>");
    out.push_str("<p class=\"readout\" aria-live=\"polite\"></p>");
    let (drawn, all) = timeline.drawn;
    if drawn < all {
        _ = write!(
            out,
            "<p class=\"muted drawn\">{} of {} are drawn one by one: those of violations, then unknown, failed and \
             slow ones. All are counted in the bars below each lane.</p>",
            people::count(drawn),
            people::many(all, "call")
        );
    }
    let data = super::escape::json(&timeline.data);
    _ = write!(out, "<script type=\"application/json\" id=\"data-{number}\">{data}</script>");
    out
}

const BAR: &str = "<div class=\"bar\">\
    <button type=\"button\" data-do=\"in\" aria-label=\"zoom in\" title=\"zoom in (+)\">+</button>\
    <button type=\"button\" data-do=\"out\" aria-label=\"zoom out\" title=\"zoom out (−)\">−</button>\
    <button type=\"button\" data-do=\"left\" aria-label=\"move left\" title=\"move left (←)\">←</button>\
    <button type=\"button\" data-do=\"right\" aria-label=\"move right\" title=\"move right (→)\">→</button>\
    <button type=\"button\" data-do=\"all\" aria-label=\"show all\" title=\"show all (0)\">all</button>\
    <button type=\"button\" data-do=\"previous\" title=\"previous event ([)\">‹ event</button>\
    <button type=\"button\" data-do=\"next\" title=\"next event (])\">event ›</button>\
    <output class=\"range\"></output>\
    <span class=\"hint muted\">drag: zoom to a range · Ctrl + wheel: zoom · Shift + wheel: move · \
    double click: all</span></div>";

const LEGEND: &str = "<div class=\"legend\" role=\"group\" aria-label=\"Legend\">\
    <span class=\"set\"><b>calls</b><span><i class=\"sw ok\"></i>✓ ok</span>\
    <span><i class=\"sw fail\"></i>✕ failed, no effect</span>\
    <span><i class=\"sw unknown\"></i>? unknown, may have an effect</span>\
    <span><i class=\"sw read\"></i>read: thinner</span><span><i class=\"sw tail\"></i>tail: a line</span>\
    <span>◆ admin</span></span>\
    <span class=\"set\"><b>roles</b><span><i class=\"sw master\"></i>master</span>\
    <span><i class=\"sw slave\"></i>slave</span><span><i class=\"sw electing\"></i>electing</span>\
    <span><i class=\"sw closed\"></i>closed</span><span><i class=\"sw down\"></i>down</span></span>\
    <span class=\"set\"><b>faults</b><span><i class=\"sw fault\"></i>▼ installed ● observed ▲ removed</span>\
    <span><i class=\"sw unproven\"></i>◇ not proven</span></span>\
    <span class=\"set\"><b>trouble</b><span><i class=\"sw window\"></i>no ack</span>\
    <span><i class=\"sw violation\"></i>violation</span></span></div>";

fn row(out: &mut String, strip: &str, i: usize, height: usize, label: &str, class: &str) {
    _ = write!(
        out,
        "<div class=\"row {class}\" data-strip=\"{strip}\" data-i=\"{i}\" style=\"height:{height}px\">\
         <div class=\"label\">{label}</div></div>"
    );
}

fn heading(out: &mut String, text: &str) {
    _ = write!(out, "<div class=\"row head\"><div class=\"label\">{text}</div></div>");
}

fn empty(out: &mut String, text: &str) {
    _ = write!(out, "<div class=\"row empty\"><div class=\"label\"></div><p>{text}</p></div>");
}

fn name(text: &str) -> String {
    format!("<span class=\"name\" title=\"{0}\">{0}</span>", html(text))
}

fn key(i: usize, node: &str) -> String {
    format!("<span class=\"key k{}\">{}</span> ", i % 8, html(&people::shortened(node, 12)))
}

fn lane_label(lane: &LaneLabel) -> String {
    let [ok, fail, unknown] = lane.total;
    let mut counts = format!("✓\u{a0}{}", people::count(ok));
    let mut words = format!("{} ok", people::count(ok));
    for (number, shape, word) in [(fail, '✕', "failed"), (unknown, '?', "unknown")] {
        if number > 0 {
            _ = write!(counts, " {shape}\u{a0}{}", people::count(number));
            _ = write!(words, ", {} {word}", people::count(number));
        }
    }
    format!("{}<small title=\"{words}\">{counts}</small>", name(&lane.name))
}
