"use strict";
// The strips of the appends and of the clients. Arguments as in draw.js.

function drawWindows(c, v, r, d, p) {
  for (const [i, [from, to]] of d.windows.entries()) {
    const [a, b] = [Math.max(-2, v.x(from)), Math.min(v.width + 2, Math.max(v.x(to), v.x(from) + 2))];
    if (b < 0 || a > v.width) continue;
    c.fillStyle = hatch(c, p.window);
    c.fillRect(a, r.y + 4, b - a, r.h - 8);
    c.strokeStyle = p.window;
    c.lineWidth = 1;
    c.strokeRect(a + 0.5, r.y + 4.5, b - a - 1, r.h - 9);
    const text = took(to - from);
    const w = c.measureText(text).width;
    if (w + 10 < b - a) plate(c, text, a + 6, r.y + r.h / 2, p, p.text);
    else if (b + w + 8 < (d.windows[i + 1] ? v.x(d.windows[i + 1][0]) : v.width)) {
      plate(c, text, b + 5, r.y + r.h / 2, p, p.text);
    }
  }
}

function shadeWindows(c, v, r, d, p) {
  c.globalAlpha = 0.1;
  c.fillStyle = p.window;
  for (const [from, to] of d.windows) c.fillRect(v.x(from), r.y, Math.max(1, v.x(to) - v.x(from)), r.h);
  c.globalAlpha = 1;
}

/** The bins of a strip that are in view: the first, and the one after the last. */
function inView(v, bin, count) {
  return [Math.max(0, Math.floor(v.from / bin)), Math.min(count, Math.ceil(v.to / bin) + 1)];
}

function drawRate(c, v, r, d, p) {
  shadeWindows(c, v, r, d, p);
  const { bin, acked, lost } = d.load;
  const [first, last] = inView(v, bin, acked.length);
  const most = Math.max(1, ...acked.slice(first, last));
  const [floor, room] = [r.y + r.h - 7, r.h - 14];
  for (let i = first; i < last; i++) {
    const x = v.x(i * bin);
    const w = Math.max(1, v.x((i + 1) * bin) - x - (v.x(bin) - v.x(0) > 4 ? 0.5 : 0));
    const h = (acked[i] / most) * room;
    c.fillStyle = p.ok;
    c.fillRect(x, floor - h, w, h);
    if (lost[i]) { c.fillStyle = p.unknown; c.fillRect(x, floor + 1, w, 4); }
  }
  plate(c, `${group(Math.round((most * 1e6) / bin))}/s`, 4, r.y + 9, p, p.muted);
}

function drawLatency(c, v, r, d, p) {
  shadeWindows(c, v, r, d, p);
  const { bin, p50, p99 } = d.load;
  const [first, last] = inView(v, bin, p50.length);
  const values = [...p50.slice(first, last), ...p99.slice(first, last)].filter((n) => n !== null);
  if (!values.length) return;
  const low = Math.floor(Math.log10(Math.max(1, Math.min(...values))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, Math.max(...values)))));
  const y = (us) => r.y + r.h - 6 - ((Math.log10(Math.max(1, us)) - low) / (high - low)) * (r.h - 12);
  for (let power = low; power <= high; power++) {
    c.fillStyle = p.grid;
    c.fillRect(0, Math.round(y(10 ** power)), v.width, 1);
  }
  [p50, p99].forEach((all, i) => {
    c.strokeStyle = p.nodes[i];
    c.setLineDash(DASHES[i]);
    c.lineWidth = 1.5;
    const points = [];
    for (let k = first; k < last; k++) points.push([k * bin, all[k]]);
    steps(c, v, points, y, last * bin);
  });
  c.setLineDash([]);
  const short = (power) => took(10 ** power).replace(".0", "").replace(".00", "");
  plate(c, short(high), 4, r.y + 8, p, p.muted);
  plate(c, short(low), 4, r.y + r.h - 8, p, p.muted);
}

/** Where the bars of a call are: `[left, right, top, height]`. */
function place(call, v, r) {
  const [start, length, sort, , row] = call;
  const a = v.x(start);
  const thick = [8, 5, 2, 8][sort];
  return [a, Math.max(a + 2, v.x(start + length)), r.y + 6 + row * 10 + (8 - thick) / 2, thick];
}

function drawLane(c, v, r, d, p) {
  const lane = d.lanes[r.i];
  if (lane.bins.length) drawBins(c, v, r, d, p, lane);
  // Of bars that fall on one pixel, one is enough.
  const drawn = [[], [], []];
  for (const outcome of [0, 1, 2]) {
    for (const call of lane.calls) {
      if (call[3] !== outcome || call[0] > v.to || call[0] + call[1] < v.from) continue;
      const [a, b, y, h] = place(call, v, r);
      const pixel = Math.round(b);
      if (b - a <= 2 && drawn[outcome][call[4]] === pixel) continue;
      drawn[outcome][call[4]] = pixel;
      drawCall(c, v, p, call, a, b, y, h);
    }
  }
}

function drawCall(c, v, p, call, a, b, y, h) {
  const outcome = call[3];
  const [left, right] = [Math.max(-4, a), Math.min(v.width + 4, b)];
  // A line of ground between calls that follow one another.
  const w = right - left > 4 ? right - left - 1 : right - left;
  c.fillStyle = p[OUTCOME[outcome]];
  if (call[2] === 3) {
    c.beginPath();
    c.moveTo(a, y - 1); c.lineTo(a + 5, y + 4); c.lineTo(a, y + 9); c.lineTo(a - 5, y + 4);
    c.fill();
    c.fillRect(left, y + 3, w, 2);
    return;
  }
  if (outcome === 0) c.fillRect(left, y, w, h);
  else if (outcome === 1) {
    // Hollow: nothing came of it.
    c.strokeStyle = p.fail;
    c.lineWidth = 1;
    if (w > 4) { c.strokeRect(left + 0.5, y + 0.5, w - 1, Math.max(1, h - 1)); c.fillRect(left + w - 3, y, 3, h); }
    else c.fillRect(left, y, w, h);
  } else {
    // Open at its end: nobody knows when it was over.
    const cut = Math.min(6, w / 2);
    c.fillRect(left, y, Math.max(1.5, w - cut), h);
    for (let x = left + w - cut; x < left + w; x += 3) c.fillRect(x + 1, y, 1.5, h);
    if (w > 24) label(c, "?", left + w - 6 - cut, y + h / 2 + 0.5, 12, p.ground);
  }
}

function drawBins(c, v, r, d, p, lane) {
  const floor = r.y + r.h - 2;
  let most = 1;
  for (const [, ok, fail, unknown] of lane.bins) most = Math.max(most, ok + fail + unknown);
  for (const [i, ...counts] of lane.bins) {
    const x = v.x(i * d.laneBin);
    const w = Math.max(1, v.x((i + 1) * d.laneBin) - x);
    if (x + w < 0 || x > v.width) continue;
    const sum = counts[0] + counts[1] + counts[2];
    const all = Math.max(2, Math.sqrt(sum / most) * 15);
    let y = floor;
    counts.forEach((n, outcome) => {
      if (!n) return;
      const h = Math.max(1, (n / sum) * all);
      c.globalAlpha = outcome === 0 ? 0.55 : 0.9;
      c.fillStyle = p[OUTCOME[outcome]];
      c.fillRect(x, y - h, w, h);
      y -= h;
    });
  }
  c.globalAlpha = 1;
}

/** The calls of violations: a frame, a letter, and a line from one to the next of the same violation. */
function drawMarks(c, v, rows, d, p) {
  let before = null;
  for (const mark of d.marked) {
    const r = rows.find((row) => row.strip === "lane" && row.i === mark.lane);
    const [a, b, y, h] = place(mark.call, v, r);
    const [left, right] = [Math.max(2, a), Math.min(v.width - 2, b)];
    const inside = (x) => Math.min(Math.max(x, 0), v.width);
    const here = { violation: mark.violation, x: inside(a), end: inside(b), y: y + h / 2 };
    if (before?.violation === here.violation) {
      c.strokeStyle = p.violation;
      c.lineWidth = 1.25;
      c.setLineDash([3, 3]);
      c.beginPath(); c.moveTo(here.x > before.end ? before.end : before.x, before.y); c.lineTo(here.x, here.y); c.stroke();
      c.setLineDash([]);
    }
    before = here;
    if (b < 0 || a > v.width) continue;
    c.strokeStyle = p.violation;
    c.lineWidth = 2;
    c.strokeRect(left - 2, y - 2, Math.max(4, right - left + 4), h + 4);
  }
  for (const mark of d.marked) {
    const r = rows.find((row) => row.strip === "lane" && row.i === mark.lane);
    const [a, b, y, h] = place(mark.call, v, r);
    if (b < 0 || a > v.width) continue;
    c.font = "600 " + p.font;
    const w = c.measureText(mark.label).width + 8;
    const x = Math.min(Math.max(0, a - w - 3 < 0 ? b + 3 : a - w - 3), v.width - w);
    c.fillStyle = p.violation;
    c.beginPath(); c.roundRect(x, y + h / 2 - 8, w, 16, 4); c.fill();
    c.fillStyle = p.ground;
    c.fillText(mark.label, x + 4, y + h / 2 + 0.5);
    c.font = p.font;
  }
}

function drawMoments(c, v, height, d, p) {
  for (const f of d.violations) {
    if (f.at === null || f.at < v.from || f.at > v.to) continue;
    c.fillStyle = p.violation;
    c.fillRect(Math.round(v.x(f.at)) - 0.5, 0, 1.5, height);
  }
}
