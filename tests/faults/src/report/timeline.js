"use strict";
// A timeline: one canvas over all strips of a scenario, one range of time for all of them.

const DRAW = {
  axis: drawAxis, overview: drawOverview, faults: drawFaults, role: drawRole, committed: drawCommitted,
  windows: drawWindows, rate: drawRate, latency: drawLatency, lane: drawLane,
};

class Timeline {
  constructor(section) {
    this.section = section;
    this.box = section.querySelector(".strips");
    this.canvas = this.box.querySelector("canvas");
    this.cursor = this.box.querySelector(".cursor");
    this.selection = this.box.querySelector(".select");
    this.range = section.querySelector(".range");
    this.readout = section.querySelector(".readout");
    this.tip = document.getElementById("tip");
    this.data = JSON.parse(document.getElementById(section.dataset.timeline).textContent);
    this.prepare();
    [this.from, this.to] = [0, this.data.end];
    this.events();
    new ResizeObserver(() => this.redraw()).observe(this.box);
  }

  /** What the data does not say outright: which lane a marked call is in, when to look for a violation. */
  prepare() {
    const d = this.data;
    const several = d.violations.length > 1;
    d.marked = [];
    for (const [label, op] of d.marks) {
      d.lanes.forEach((lane, i) => {
        const call = lane.calls.find((one) => one[5] === op);
        if (call) d.marked.push({ label, call, lane: i, violation: several ? parseInt(label, 10) - 1 : 0 });
      });
    }
    d.violations.forEach((one, i) => {
      const calls = d.marked.filter((mark) => mark.violation === i).map((mark) => mark.call);
      const times = calls.flatMap((call) => [call[0], call[0] + call[1]]);
      if (one.at !== null) times.push(one.at);
      one.from = times.length ? Math.min(...times) : null;
      one.to = times.length ? Math.max(...times) : null;
      one.focus = one.at ?? one.to;
    });
    const marks = [];
    for (const f of d.faults) marks.push([f.from, f.to, this.faultText(f)]);
    for (const [a, b] of d.windows) marks.push([a, b, `no ack for ${took(b - a)}`]);
    for (const f of d.violations) {
      if (f.from !== null) marks.push([f.from, f.to, `violation ${f.number}: law ${f.law}`]);
    }
    this.landmarks = marks.sort((a, b) => a[0] - b[0]);
    this.landmark = -1;
  }

  faultText(f) {
    return `fault #${f.number} ${f.kind} on ${f.nodes}, ${f.proven ? "proven" : "never " + f.lacks.join(", nor ")}`;
  }

  x(t) { return ((t - this.from) / (this.to - this.from)) * this.width; }
  t(x) { return this.from + (x / this.width) * (this.to - this.from); }

  show(from, to) {
    const end = this.data.end;
    const range = Math.min(end, Math.max(20, to - from));
    this.from = Math.min(Math.max(0, from), end - range);
    this.to = this.from + range;
    this.readout.textContent = "";
    this.redraw();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    const range = Math.min(this.data.end, (this.to - this.from) * factor);
    const share = (at - this.from) / (this.to - this.from);
    this.show(at - share * range, at - share * range + range);
  }

  move(share) {
    const by = (this.to - this.from) * share;
    const from = Math.min(Math.max(0, this.from + by), this.data.end - (this.to - this.from));
    this.show(from, from + (this.to - this.from));
  }

  /** Shows `from..to` with room on both sides. */
  frame(from, to) {
    // A moment has no length to go by.
    const room = to === from ? this.data.end / 50 : Math.max(200, (to - from) * 0.6);
    this.show(from - room, to + room);
  }

  step(by) {
    if (!this.landmarks.length) { this.readout.textContent = "no events to go to"; return; }
    this.landmark = (this.landmark + by + this.landmarks.length) % this.landmarks.length;
    if (by < 0 && this.landmark < 0) this.landmark = this.landmarks.length - 1;
    const [from, to, text] = this.landmarks[this.landmark];
    this.frame(from, to);
    this.readout.textContent = `${moment(from, 1000)} to ${moment(to, 1000)}: ${text}`;
  }

  violation(i) {
    const one = this.data.violations[i];
    if (one.from !== null) this.frame(one.from, one.to);
    const mark = this.data.marked.find((m) => m.violation === i);
    const row = mark && this.box.querySelector(`[data-strip="lane"][data-i="${mark.lane}"]`);
    if (row) row.scrollIntoView({ block: "center" }); else this.box.scrollIntoView({ block: "start" });
    this.box.focus({ preventScroll: true });
    if (one.from === null) this.readout.textContent = "no moment of the history is named by this violation";
  }

  fault(i) {
    const f = this.data.faults[i];
    this.frame(f.from, f.to);
    this.box.scrollIntoView({ block: "start" });
    this.box.focus({ preventScroll: true });
  }

  redraw() {
    if (this.due) return;
    this.due = requestAnimationFrame(() => { this.due = 0; this.draw(); });
  }

  draw() {
    const label = this.box.querySelector(".label").offsetWidth;
    const height = this.box.clientHeight;
    this.left = label;
    this.width = Math.max(50, this.box.clientWidth - label);
    const ratio = Math.min(3, devicePixelRatio || 1);
    const [w, h] = [Math.round(this.width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
    this.canvas.style.cssText = `left:${label}px;width:${this.width}px;height:${height}px`;
    this.rows = [...this.box.querySelectorAll("[data-strip]")].map((row) => (
      { strip: row.dataset.strip, i: +row.dataset.i, y: row.offsetTop, h: row.offsetHeight }));
    const p = palette();
    const c = this.canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, height);
    c.font = p.font;
    c.textBaseline = "middle";
    drawGround(c, this, height, this.data, p);
    for (const row of this.rows) {
      c.save();
      c.beginPath(); c.rect(0, row.y, this.width, row.h); c.clip();
      if (row.strip === "overview") { c.fillStyle = p.ground; c.fillRect(0, row.y, this.width, row.h); }
      DRAW[row.strip](c, this, row, this.data, p);
      c.restore();
    }
    drawMoments(c, this, height, this.data, p);
    drawMarks(c, this, this.rows, this.data, p);
    const step = (this.to - this.from) / 500;
    this.range.textContent = `${moment(this.from, step)} – ${moment(this.to, step)} (${took(Math.round(this.to - this.from))})`;
  }

  events() {
    const box = this.box;
    let drag = null;
    const at = (e) => {
      const r = box.getBoundingClientRect();
      return [e.clientX - r.left - this.left, e.clientY - r.top];
    };
    const overview = (y) => this.rows?.find((r) => r.strip === "overview" && y >= r.y && y < r.y + r.h);
    box.addEventListener("pointerdown", (e) => {
      const [x, y] = at(e);
      if (e.button !== 0 || x < 0 || !this.rows) return;
      drag = { x, over: !!overview(y) };
      box.setPointerCapture(e.pointerId);
      if (drag.over) this.centre(x);
    });
    box.addEventListener("pointermove", (e) => {
      const [x, y] = at(e);
      if (!this.rows) return;
      if (drag?.over) this.centre(x);
      else if (drag && Math.abs(x - drag.x) > 3) this.select(drag.x, x);
      this.hover(x, y, e);
    });
    const up = (e) => {
      if (drag && !drag.over && e.type === "pointerup") {
        const [x] = at(e);
        const [a, b] = [Math.max(0, Math.min(drag.x, x)), Math.min(this.width, Math.max(drag.x, x))];
        if (b - a > 3) this.show(this.t(a), this.t(b));
      }
      drag = null;
      this.selection.hidden = true;
    };
    box.addEventListener("pointerup", up);
    box.addEventListener("pointercancel", up);
    box.addEventListener("pointerleave", () => { this.tip.hidden = this.cursor.hidden = true; });
    box.addEventListener("dblclick", () => this.show(0, this.data.end));
    box.addEventListener("wheel", (e) => {
      const [x] = at(e);
      if (x < 0) return;
      if (e.ctrlKey || e.metaKey) this.zoom(Math.exp(Math.max(-50, Math.min(50, e.deltaY)) / 120), this.t(x));
      else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) this.move((e.deltaX || e.deltaY) / this.width);
      else return;
      e.preventDefault();
    }, { passive: false });
    const keys = {
      ArrowLeft: () => this.move(-0.15), ArrowRight: () => this.move(0.15), "+": () => this.zoom(0.6),
      "=": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), 0: () => this.show(0, this.data.end),
      "[": () => this.step(-1), "]": () => this.step(1), Home: () => this.move(-1e9), End: () => this.move(1e9),
    };
    box.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || !Object.hasOwn(keys, e.key)) return;
      e.preventDefault();
      keys[e.key]();
    });
    const buttons = {
      in: "+", out: "-", left: "ArrowLeft", right: "ArrowRight", all: "0", previous: "[", next: "]",
    };
    for (const button of this.section.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => keys[buttons[button.dataset.do]]());
    }
    for (const button of this.section.querySelectorAll(".goto")) {
      const { violation, fault } = button.dataset;
      button.addEventListener("click", () => (violation ? this.violation(+violation) : this.fault(+fault)));
    }
  }

  centre(x) {
    const [half, t] = [(this.to - this.from) / 2, (x / this.width) * this.data.end];
    const from = Math.min(Math.max(0, t - half), this.data.end - 2 * half);
    this.show(from, from + 2 * half);
  }

  select(a, b) {
    const [left, right] = [Math.max(0, Math.min(a, b)), Math.min(this.width, Math.max(a, b))];
    this.selection.hidden = false;
    this.selection.style.cssText = `left:${this.left + left}px;width:${right - left}px`;
  }

  hover(x, y, e) {
    const row = this.rows.find((r) => y >= r.y && y < r.y + r.h);
    if (x < 0 || x > this.width) { this.tip.hidden = this.cursor.hidden = true; return; }
    this.cursor.hidden = false;
    this.cursor.style.left = `${this.left + x}px`;
    const over = row?.strip === "overview";
    const t = over ? (x / this.width) * this.data.end : this.t(x);
    const lines = [moment(t, (this.to - this.from) / 500), ...(row && !over ? read(this, row, x, y, t) : [])];
    this.tip.replaceChildren(...lines.map((text, i) => {
      const line = document.createElement(i ? "div" : "b");
      line.textContent = text;
      return line;
    }));
    this.tip.hidden = false;
    const [w, h] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const left = e.clientX + 16 + w > innerWidth ? e.clientX - w - 12 : e.clientX + 16;
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${Math.max(4, Math.min(e.clientY + 14, innerHeight - h - 4))}px`;
  }
}
