"use strict";
// What the pointer reads out of a strip, the theme, the copy buttons, and the start.

/** The value of a line of steps at `t`. */
function valueAt(points, t) {
  let [low, high] = [0, points.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (points[mid][0] <= t) low = mid + 1; else high = mid;
  }
  return low ? points[low - 1] : null;
}

const READ = {
  faults(view, row, x, y, t) {
    const at = Math.floor((y - row.y - 3) / FAULT_ROW);
    const near = view.t(x + 4) - t;
    const hit = (f) => t >= f.from - near && t <= f.to + near;
    const all = view.data.faults.filter((f) => f.row === at && hit(f));
    return all.slice(0, 4).flatMap((f) => [
      view.faultText(f),
      ...f.phases.slice(0, 8).map(([when, phase, evidence]) => `${moment(when, 1000)} ${phase}${evidence && ": " + evidence}`),
    ]);
  },
  role(view, row, x, y, t) {
    const node = view.data.nodes[row.i];
    const now = stretches(node, view.data.end).find(([from, to]) => t >= from && t < to);
    if (!now) return [`${node.name}: nothing said yet`];
    const [from, to, role, term] = now;
    return [`${node.name}: ${role}, term ${term}`, `for ${took(to - from)} from ${moment(from, 1000)} on`];
  },
  committed(view, row, x, y, t) {
    return view.data.nodes.map((node) => {
      const at = valueAt(node.committed, t);
      return `${node.name}: ${at ? group(at[1]) : "nothing said yet"}`;
    });
  },
  windows(view, row, x, y, t) {
    const one = view.data.windows.find(([a, b]) => t >= a && t <= b);
    return one ? [`no ack for ${took(one[1] - one[0])}`, `${moment(one[0], 1000)} to ${moment(one[1], 1000)}`] : [];
  },
  rate(view, row, x, y, t) {
    const { bin, acked, lost } = view.data.load;
    const i = Math.floor(t / bin);
    if (acked[i] === undefined) return [];
    const rate = group(Math.round((acked[i] * 1e6) / bin));
    return [`${rate} records/s`, `${group(acked[i])} acked in ${took(bin)}`, `${group(lost[i])} appends ended without an ack`];
  },
  latency(view, row, x, y, t) {
    const { bin, p50, p99 } = view.data.load;
    const i = Math.floor(t / bin);
    return p50[i] == null ? ["no ack"] : [`p50 ${took(p50[i])}`, `p99 ${took(p99[i])}`];
  },
  lane(view, row, x, y, t) {
    const { lanes, laneBin, texts } = view.data;
    const lane = lanes[row.i];
    const wanted = Math.floor((y - row.y - 4) / 10);
    let best = null;
    let least = 6;
    for (const call of lane.calls) {
      const [a, b] = [view.x(call[0]), view.x(call[0] + call[1])];
      // The row under the pointer, then what nobody may overlook.
      const away = Math.max(0, a - x, x - b) + (call[4] === wanted ? 0 : 3) - call[3] * 0.1;
      if (away < least) [best, least] = [call, away];
    }
    const out = [lane.name];
    if (best) {
      const mark = view.data.marked.find((m) => m.call === best);
      out.push(
        `${mark ? mark.label + " " : ""}#${best[5]} ${texts[best[6]]}`, `${SAID[best[3]]}: ${texts[best[7]]}`,
        `${moment(best[0], 1000)}, took ${best[8] ? "at least " : ""}${took(best[1])}`);
    }
    const bin = lane.bins.find(([i]) => i === Math.floor(t / laneBin));
    if (bin && (!best || y > row.y + row.h - 18)) {
      out.push(`in ${took(laneBin)}: ${group(bin[1])} ok, ${group(bin[2])} failed, ${group(bin[3])} unknown`);
    }
    return out;
  },
};

function read(view, row, x, y, t) {
  const bands = row.strip === "faults" ? [] : view.data.faults.filter((f) => t >= f.from && t <= f.to);
  const under = bands.slice(0, 3).map((f) => `under ${f.kind} on ${f.nodes}`);
  return [...(READ[row.strip]?.(view, row, x, y, t) ?? []), ...under];
}

let colours = null;
function palette() {
  if (colours) return colours;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue("--" + name).trim();
  colours = { nodes: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => of("n" + i)), font: "11px " + of("sans"), band: +of("band") };
  for (const name of ["ok", "fail", "unknown", "violation", "master", "slave", "electing", "closed", "other", "fault",
    "window", "ground", "text", "muted", "line", "grid", "shade", "accent"]) colours[name] = of(name);
  return colours;
}

const views = new Map();
const repaint = () => { colours = null; views.forEach((view) => view.redraw()); };

function start(section) {
  if (section.open && !views.has(section)) views.set(section, new Timeline(section));
}

for (const section of document.querySelectorAll("details.scenario")) {
  section.addEventListener("toggle", () => start(section));
  start(section);
}

// A link to a section that is closed opens it.
function follow() {
  const section = /^#s\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
  if (section) { section.open = true; section.scrollIntoView(); }
}
addEventListener("hashchange", follow);
follow();

// The theme: kept where the browser allows it, and `?theme=dark` for those who make pictures.
const THEMES = ["system", "light", "dark"];
const button = document.getElementById("theme");
function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  button.textContent = "theme: " + name;
  button.dataset.now = name;
  repaint();
}
function stored(write) {
  try {
    if (write) localStorage.setItem("dledger-theme", write);
    return localStorage.getItem("dledger-theme");
  } catch { return null; }
}
button.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(button.dataset.now) + 1) % THEMES.length];
  stored(next);
  theme(next);
});
const asked = new URLSearchParams(location.search).get("theme") ?? stored();
theme(THEMES.includes(asked) ? asked : "system");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

for (const copy of document.querySelectorAll(".copy")) {
  copy.addEventListener("click", async () => {
    const text = copy.parentElement.querySelector("code").textContent;
    let done = false;
    try { await navigator.clipboard.writeText(text); done = true; } catch { done = select(copy.parentElement); }
    copy.textContent = done ? "copied" : "select and copy";
    setTimeout(() => { copy.textContent = "copy"; }, 2000);
  });
}

/** Where a page may not write to the clipboard itself: the old way. */
function select(parent) {
  getSelection().selectAllChildren(parent.querySelector("code"));
  return document.execCommand("copy");
}
