"use strict";
// What the strips of a timeline look like. Each function draws one kind of strip: `c` is the 2D context, `v` the view
// (`x(t)` and its inverse, the range, the width), `r` the strip (`y`, `h`, `i`), `d` the data, `p` the palette.

const OUTCOME = ["ok", "fail", "unknown"];
/** Pixels of a row of faults, as `strips.rs` has it. */
const FAULT_ROW = 26;
const SAID = ["ok", "failed, no effect", "unknown, may have an effect"];
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 4], [1, 3], [10, 2, 2, 2]];

const group = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** Microseconds as people read them. */
function took(us) {
  if (us < 1000) return us + " µs";
  if (us < 99950) return (us / 1000).toFixed(1) + " ms";
  if (us < 999500) return Math.round(us / 1000) + " ms";
  if (us < 59995000) return (us / 1e6).toFixed(2) + " s";
  const s = Math.round(us / 1e6);
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

/** A moment with as many digits as a step of the axis needs. */
function moment(us, step) {
  const digits = Math.min(6, Math.max(0, 6 - Math.floor(Math.log10(step) + 1e-9)));
  return (us / 1e6).toFixed(digits) + " s";
}

function niceStep(range, most) {
  const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400].map((s) => s * 1e6);
  for (let power = 1; power < 1e6; power *= 10) {
    for (const m of [1, 2, 5]) if (range / (power * m) <= most) return power * m;
  }
  return seconds.find((step) => range / step <= most) ?? range;
}

const HATCHES = new Map();
function hatch(c, colour, back = "") {
  const known = HATCHES.get(colour + back);
  if (known) return known;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const t = tile.getContext("2d");
  if (back) { t.fillStyle = back; t.fillRect(0, 0, 6, 6); }
  t.strokeStyle = colour;
  t.lineWidth = 1.4;
  for (const x of [-6, 0, 6]) { t.beginPath(); t.moveTo(x - 1, 7); t.lineTo(x + 7, -1); t.stroke(); }
  const pattern = c.createPattern(tile, "repeat");
  HATCHES.set(colour + back, pattern);
  return pattern;
}

/** Text in a box, if it has the room; says whether it had. */
function label(c, text, x, y, room, colour) {
  if (c.measureText(text).width > room) return false;
  c.fillStyle = colour;
  c.fillText(text, x, y);
  return true;
}

/** Text on the ground colour, readable over whatever is drawn there. */
function plate(c, text, x, y, p, colour, align = "left") {
  const w = c.measureText(text).width;
  const left = align === "right" ? x - w : x;
  c.globalAlpha = 0.85;
  c.fillStyle = p.ground;
  c.fillRect(left - 2, y - 7, w + 4, 14);
  c.globalAlpha = 1;
  c.fillStyle = colour;
  c.fillText(text, left, y);
}

function drawAxis(c, v, r, d, p) {
  const step = niceStep(v.to - v.from, Math.max(2, v.width / 100));
  for (let t = Math.ceil(v.from / step) * step; t <= v.to; t += step) {
    const x = Math.round(v.x(t)) + 0.5;
    c.fillStyle = p.line;
    c.fillRect(x - 0.5, r.y + r.h - 6, 1, 6);
    const text = moment(t, step);
    const w = c.measureText(text).width;
    c.fillStyle = p.muted;
    c.fillText(text, Math.min(Math.max(x - w / 2, 0), v.width - w), r.y + r.h / 2 - 2);
  }
}

/** Lines of the axis and bands of the faults, behind all strips. */
function drawGround(c, v, height, d, p) {
  for (const f of d.faults) {
    const [a, b] = [v.x(f.from), Math.max(v.x(f.to), v.x(f.from) + 1)];
    c.fillStyle = p.fault;
    c.globalAlpha = p.band;
    c.fillRect(a, 0, b - a, height);
    c.globalAlpha = 0.35;
    c.fillRect(a, 0, 1, height);
    c.fillRect(b - 1, 0, 1, height);
    c.globalAlpha = 1;
  }
  const step = niceStep(v.to - v.from, Math.max(2, v.width / 100));
  c.fillStyle = p.grid;
  for (let t = Math.ceil(v.from / step) * step; t <= v.to; t += step) c.fillRect(Math.round(v.x(t)), 0, 1, height);
}

function drawOverview(c, v, r, d, p) {
  const all = { ...v, x: (t) => (t / d.end) * v.width };
  const most = Math.max(1, ...d.load.acked);
  c.fillStyle = p.fault;
  for (const f of d.faults) {
    c.globalAlpha = 0.2;
    c.fillRect(all.x(f.from), r.y + 4, Math.max(1, all.x(f.to) - all.x(f.from)), r.h - 8);
  }
  c.globalAlpha = 0.7;
  c.fillStyle = p.ok;
  d.load.acked.forEach((n, i) => {
    const h = (n / most) * (r.h - 10);
    const x = all.x(i * d.load.bin);
    c.fillRect(x, r.y + r.h - 4 - h, Math.max(1, all.x((i + 1) * d.load.bin) - x), h);
  });
  c.globalAlpha = 1;
  for (const f of d.violations) {
    if (f.focus !== null) plate(c, "✕", all.x(f.focus) - 4, r.y + 10, p, p.violation);
  }
  const [a, b] = [all.x(v.from), all.x(v.to)];
  c.fillStyle = p.shade;
  c.fillRect(0, r.y + 2, a, r.h - 4);
  c.fillRect(b, r.y + 2, v.width - b, r.h - 4);
  c.strokeStyle = p.accent;
  c.lineWidth = 1.5;
  c.strokeRect(a + 0.75, r.y + 2.75, Math.max(3, b - a - 1.5), r.h - 5.5);
}

function drawFaults(c, v, r, d, p) {
  for (const f of d.faults) {
    const y = r.y + 3 + f.row * FAULT_ROW;
    const [a, b] = [v.x(f.from), Math.max(v.x(f.to), v.x(f.from) + 3)];
    if (b < 0 || a > v.width) continue;
    c.globalAlpha = 0.22;
    c.fillStyle = f.proven ? p.fault : hatch(c, p.fault);
    c.fillRect(a, y, b - a, FAULT_ROW - 4);
    c.globalAlpha = 1;
    c.strokeStyle = p.fault;
    c.lineWidth = 1;
    c.setLineDash(f.proven ? [] : [4, 3]);
    c.strokeRect(a + 0.5, y + 0.5, b - a - 1, FAULT_ROW - 5);
    c.setLineDash([]);
    for (const [t, phase] of f.phases) {
      const x = v.x(t);
      const at = phase === "removed" ? x - 5 : phase === "installed" ? x + 5 : x;
      c.fillStyle = p.fault;
      c.beginPath();
      if (phase === "observed") c.arc(at, y + 17, 2.5, 0, 7);
      else {
        const tip = phase === "installed" ? 1 : -1;
        c.moveTo(at - 4, y + 17 - 3 * tip); c.lineTo(at + 4, y + 17 - 3 * tip); c.lineTo(at, y + 17 + 3 * tip);
      }
      c.fill();
    }
  }
  drawFaultLabels(c, v, r, d, p);
}

/** A name for each fault, inside its bar or beside it, where nothing else is; the shorter one if need be, or none. */
function drawFaultLabels(c, v, r, d, p) {
  const bars = d.faults.map((f) => [f.row, v.x(f.from), Math.max(v.x(f.to), v.x(f.from) + 3)]);
  const taken = bars.slice();
  d.faults.forEach((f, i) => {
    const [row, a, b] = bars[i];
    if (b < 0 || a > v.width) return;
    const alone = (left, right) => taken.every(([other, from, to], k) => (
      other !== row || k === i || right < from || left > to));
    const bad = f.proven ? "" : " ◇";
    const [long, short] = [`${f.kind} ${f.nodes}${bad && bad + " not proven"}`, f.kind + bad];
    const inside = Math.max(a, 0) + 4;
    for (const [text, side] of [[long, 0], [long, 1], [short, 0], [short, 1], [long, 2], [short, 2]]) {
      const w = c.measureText(text).width + 4;
      const x = [inside, b + 5, a - w - 5][side];
      if (x < 0 || x + w > (side ? v.width : Math.min(b, v.width) - 2) || !alone(x, x + w)) continue;
      plate(c, text, x + 2, r.y + 3 + row * FAULT_ROW + (side ? 11 : 8), p, p.text);
      taken.push([row, x, x + w]);
      return;
    }
  });
}

/** `[from, to, role, term]` of each stretch of a node. */
function stretches(node, end) {
  return node.roles.map(([t, role, term], i) => [t, node.roles[i + 1]?.[0] ?? end, role, term]);
}

function drawRole(c, v, r, d, p) {
  for (const [from, to, role, term] of stretches(d.nodes[r.i], d.end)) {
    const [a, b] = [Math.max(-2, v.x(from)), Math.min(v.width + 2, v.x(to))];
    if (b < 0 || a > v.width) continue;
    const known = { master: p.master, slave: p.slave, electing: p.electing, candidate: p.electing, closed: p.closed };
    const [y, h, w] = [r.y + 3, r.h - 6, Math.max(1, b - a)];
    c.fillStyle = role === "down" ? hatch(c, p.closed) : role === "electing" || role === "candidate"
      ? hatch(c, p.ground, p.electing) : known[role] ?? p.other;
    if (role === "slave" || role === "learner") c.fillRect(a, y + 4, w, h - 8);
    else c.fillRect(a, y, w, h);
    c.fillStyle = p.ground;
    if (w > 3) c.fillRect(a, y, 1, h);
    const ink = role === "master" || role === "closed" ? p.ground : p.text;
    const text = role === "down" ? ["down"] : [`${role} · term ${term}`, `${role} ${term}`, `${term}`];
    c.font = (role === "master" ? "600 " : "") + p.font;
    for (const one of text) {
      if (c.measureText(one).width + 8 > w) continue;
      if (role === "master" || role === "closed") label(c, one, a + 4, y + h / 2, w - 6, ink);
      else plate(c, one, a + 5, y + h / 2, p, ink);
      break;
    }
    c.font = p.font;
  }
  for (const f of d.violations) {
    if (f.focus === null || !f.nodes.includes(d.nodes[r.i].name)) continue;
    c.strokeStyle = p.violation;
    c.lineWidth = 2;
    c.strokeRect(v.x(f.focus) - 5, r.y + 2, 10, r.h - 4);
  }
}

/** A line of steps; `null` breaks it. */
function steps(c, v, points, y, end) {
  c.beginPath();
  let last = null;
  for (const [t, n] of points) {
    const x = v.x(t);
    if (n === null) { if (last !== null) c.lineTo(x, last); last = null; continue; }
    if (last === null) c.moveTo(x, y(n)); else { c.lineTo(x, last); c.lineTo(x, y(n)); }
    last = y(n);
  }
  if (last !== null) c.lineTo(v.x(end), last);
  c.stroke();
}

function drawCommitted(c, v, r, d, p) {
  let [low, high] = [Infinity, -Infinity];
  for (const node of d.nodes) {
    node.committed.forEach(([t, n], i) => {
      const until = node.committed[i + 1]?.[0] ?? d.end;
      if (until < v.from || t > v.to) return;
      low = Math.min(low, n);
      high = Math.max(high, n);
    });
  }
  if (low > high) return;
  if (low === high) high = low + 1;
  const y = (n) => r.y + r.h - 8 - ((n - low) / (high - low)) * (r.h - 16);
  c.lineWidth = 1.75;
  d.nodes.forEach((node, i) => {
    c.strokeStyle = p.nodes[i % 8];
    c.setLineDash(DASHES[i % 8]);
    steps(c, v, node.committed, y, node.last ?? 0);
  });
  c.setLineDash([]);
  for (const f of d.violations) {
    if (f.index === null || f.index < low || f.index > high) continue;
    c.strokeStyle = p.violation;
    c.lineWidth = 1;
    c.setLineDash([5, 4]);
    c.beginPath(); c.moveTo(0, y(f.index)); c.lineTo(v.width, y(f.index)); c.stroke();
    c.setLineDash([]);
    plate(c, `✕ index ${group(f.index)}`, v.width - 6, y(f.index) - 8 < r.y ? y(f.index) + 9 : y(f.index) - 8, p,
      p.violation, "right");
  }
  plate(c, group(high), 4, r.y + 9, p, p.muted);
  plate(c, group(low), 4, r.y + r.h - 9, p, p.muted);
}
