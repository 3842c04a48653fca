// The plane of points: drawn on a canvas, scrubbed through the steps, walked by mouse and keyboard.
class Plane {
  // onOpen(point), onClose(), onStep(index): what the rest of the page does.
  constructor(handlers) {
    this.handlers = handlers;
    this.canvas = byId("plane-points");
    this.tip = byId("plane-tip");
    this.mode = "step";
    this.hidden = new Set();
    this.focused = -1;
    this.selected = -1;
    this.canvas.addEventListener("mousemove", e => this.hover(this.nearest(e.offsetX, e.offsetY, 14)));
    this.canvas.addEventListener("mouseleave", () => this.hover(-1));
    this.canvas.addEventListener("click", e => this.open(this.nearest(e.offsetX, e.offsetY, 14)));
    this.canvas.addEventListener("keydown", e => this.onKey(e));
    this.canvas.addEventListener("focus", () => { if (this.focused < 0) this.focusOn(this.firstVisible()); });
  }

  setRun(run) {
    this.run = run;
    this.data = run.plane;
    this.focused = this.selected = -1;
    this.stepIndex = Math.max(0, this.data.steps.length - 1);
    this.domain = [this.rangeOf(this.data.entropy), this.rangeOf(this.data.logPpl)];
    this.layout();
  }

  // All but the outermost thousandth on each side.
  rangeOf(values) {
    const sorted = Array.from(values).filter(finite).sort(d3.ascending);
    if (!sorted.length) return [0, 1];
    const lo = d3.quantile(sorted, 0.001), hi = d3.quantile(sorted, 0.999), pad = (hi - lo) * 0.05 || 0.5;
    return [Math.max(lo - pad, Math.min(lo, 0)), hi + pad];
  }

  layout() {
    const box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    this.width = box.width;
    this.height = box.height;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.context = this.canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.inner = {left: 58, right: this.width - 18, top: 18, bottom: this.height - 44};
    this.project();
    this.drawAxes();
    this.draw();
  }

  project() {
    const {left, right, top, bottom} = this.inner, [[x0, x1], [y0, y1]] = this.domain, n = this.data.count;
    this.toX = entropy => left + (Math.max(x0, Math.min(x1, entropy)) - x0) / (x1 - x0) * (right - left);
    this.toY = logPpl => bottom - (Math.max(y0, Math.min(y1, logPpl)) - y0) / (y1 - y0) * (bottom - top);
    this.x = new Float32Array(n);
    this.y = new Float32Array(n);
    for (let i = 0; i < n; ++i) {
      this.x[i] = this.toX(this.data.entropy[i]);
      this.y[i] = this.toY(this.data.logPpl[i]);
    }
  }

  drawAxes() {
    const svg = d3.select(byId("plane-axes")), {left, right, top, bottom} = this.inner, [[x0, x1], [y0, y1]] = this.domain;
    svg.selectAll("*").remove();
    const x = d3.scale.linear().domain([x0, x1]).range([left, right]);
    const y = d3.scale.log().domain([Math.exp(y0), Math.exp(y1)]).range([bottom, top]);
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${bottom})`)
      .call(d3.svg.axis().scale(x).orient("bottom").ticks(7).tickSize(-(bottom - top), 0).tickPadding(8));
    const all = y.ticks(), every = all.length > 12 ? all.filter(t => [1, 2, 5].includes(Number(t.toExponential()[0]))) : all;
    svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`)
      .call(d3.svg.axis().scale(y).orient("left").tickValues(every).tickSize(-(right - left), 0).tickPadding(8).tickFormat(v => short(v, 2)));
    svg.append("text").attr("x", (left + right) / 2).attr("y", this.height - 8).attr("text-anchor", "middle").text("mean entropy, nats");
    svg.append("text").attr("transform", `translate(15,${(top + bottom) / 2}) rotate(-90)`).attr("text-anchor", "middle").text("perplexity");
  }

  // Points [begin, end) that the mode shows; those from `now` on are of the step itself.
  shown() {
    const begin = this.data.begins[this.stepIndex] || 0, end = this.data.begins[this.stepIndex + 1] || 0;
    if (this.mode === "step") return {begin, now: begin, end};
    if (this.mode === "past") return {begin: 0, now: begin, end};
    return {begin: 0, now: 0, end: this.data.count};
  }
  visible(i) {
    const {begin, end} = this.shown();
    return i >= begin && i < end && !this.hidden.has(quadrantOf(this.data.flags[i])) && this.data.logPpl[i] === this.data.logPpl[i];
  }
  firstVisible() {
    const {now, end} = this.shown();
    for (let i = now; i < end; ++i) if (this.visible(i)) return i;
    return -1;
  }

  draw() {
    const c = this.context, {begin, now, end} = this.shown();
    c.clearRect(0, 0, this.width, this.height);
    this.drawThresholds();
    const radius = end - now > 3000 ? 1.6 : end - now > 400 ? 2.6 : 5;
    if (begin < now) this.drawPoints(begin, now, 1.4, 0.28);
    this.drawPoints(now, end, radius, end - now > 3000 ? 0.75 : 1);
    for (const [i, width] of [[this.focused, 1.5], [this.selected, 3]]) {
      if (i < 0 || !this.visible(i)) continue;
      c.strokeStyle = cssColour("--ink");
      c.lineWidth = width;
      c.beginPath();
      c.arc(this.x[i], this.y[i], radius + 5, 0, 2 * Math.PI);
      c.stroke();
    }
  }

  // Grouped by look, one path each: kept ones filled, dropped ones hollow (pale squares where they are many).
  drawPoints(begin, end, radius, alpha) {
    const c = this.context, {flags, logPpl} = this.data, {x, y} = this, many = radius < 2, pale = cssColour("--card");
    const groups = Array.from({length: 10}, () => []);
    for (let i = begin; i < end; ++i) {
      if (logPpl[i] === logPpl[i]) groups[quadrantOf(flags[i]) + (flags[i] & kKept ? 5 : 0)].push(i);
    }
    groups.forEach((group, g) => {
      const kept = g >= 5, quadrant = g % 5;
      if (!group.length || this.hidden.has(quadrant)) return;
      c.fillStyle = c.strokeStyle = cssColour(kQuadrants[quadrant].colour);
      c.globalAlpha = many && !kept ? alpha * 0.45 : alpha;
      if (many) {
        const r = kept ? radius * 1.3 : radius;
        for (const i of group) c.fillRect(x[i] - r, y[i] - r, 2 * r, 2 * r);
        return;
      }
      c.beginPath();
      for (const i of group) {
        c.moveTo(x[i] + radius, y[i]);
        c.arc(x[i], y[i], radius, 0, 2 * Math.PI);
      }
      c.lineWidth = 1.6;
      if (!kept) c.fillStyle = pale;
      c.fill();
      if (!kept) c.stroke();
      const supplements = kept ? group.filter(i => flags[i] & kSupplement) : [];
      c.fillStyle = pale;
      for (const i of supplements) c.fillRect(x[i] - radius * 0.3, y[i] - radius * 0.3, radius * 0.6, radius * 0.6);
    });
    c.globalAlpha = 1;
  }

  drawThresholds() {
    const lines = this.mode === "all" ? null : this.data.thresholds[this.stepIndex];
    if (!lines) return;
    const c = this.context, {left, right, top, bottom} = this.inner;
    const [pplLo, pplHi, entLo, entHi] = lines;
    const x0 = this.toX(entLo), x1 = this.toX(entHi), y0 = this.toY(Math.log(pplLo)), y1 = this.toY(Math.log(pplHi));
    c.globalAlpha = 0.09;
    const corners = [[x1, top, right, y1], [left, top, x0, y1], [left, y0, x0, bottom], [x1, y0, right, bottom]];
    corners.forEach(([l, t, r, b], q) => {
      c.fillStyle = cssColour(kQuadrants[q].colour);
      c.fillRect(l, t, r - l, b - t);
    });
    c.globalAlpha = 1;
    c.strokeStyle = cssColour("--quiet");
    c.lineWidth = 1;
    c.setLineDash([4, 4]);
    c.beginPath();
    for (const x of [x0, x1]) { c.moveTo(x, top); c.lineTo(x, bottom); }
    for (const y of [y0, y1]) { c.moveTo(left, y); c.lineTo(right, y); }
    c.stroke();
    c.setLineDash([]);
    c.font = `600 12px ${cssColour("--font")}`;
    [["Q1", right - 8, top + 17, "right"], ["Q2", left + 8, top + 17, "left"], ["Q3", left + 8, bottom - 9, "left"],
      ["Q4", right - 8, bottom - 9, "right"]].forEach(([name, x, y, align], q) => {
      c.fillStyle = cssColour(kQuadrants[q].colour);
      c.textAlign = align;
      c.fillText(`${name} ${kQuadrants[q].title}`, x, y);
    });
  }

  nearest(x, y, within) {
    const {begin, end} = this.shown();
    let best = -1, least = within * within;
    for (let i = end - 1; i >= begin; --i) {
      const dx = this.x[i] - x, dy = this.y[i] - y, distance = dx * dx + dy * dy;
      if (distance < least && this.visible(i)) [best, least] = [i, distance];
    }
    return best;
  }

  // The next point in a direction: near, and not far off the way.
  neighbour(from, dx, dy) {
    const {begin, end} = this.shown();
    let best = -1, least = Infinity;
    for (let i = begin; i < end; ++i) {
      const x = this.x[i] - this.x[from], y = this.y[i] - this.y[from], along = x * dx + y * dy, across = Math.abs(x * dy - y * dx);
      if (along <= 0 || i === from) continue;
      const cost = along + 2 * across;
      if (cost < least && this.visible(i)) [best, least] = [i, cost];
    }
    return best;
  }

  describe(i) {
    const d = this.data, f = d.flags[i], q = kQuadrants[quadrantOf(f)];
    const fate = f & kKept ? `kept, ${d.tokens[i]} tokens${f & kSupplement ? ", a supplement" : ""}` : "dropped";
    return [this.run.ids[d.sample[i]], `step ${d.step[i]}, ${quadrantLabel(q)}, ${fate}`,
      `perplexity ${short(Math.exp(d.logPpl[i]))}, entropy ${short(d.entropy[i])}`];
  }

  hover(i) {
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.tip.textContent = this.describe(i).join("\n");
    const left = this.x[i] + 14 + this.tip.offsetWidth > this.width ? this.x[i] - 14 - this.tip.offsetWidth : this.x[i] + 14;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${Math.max(4, Math.min(this.height - 76, this.y[i] - 24))}px`;
  }
  focusOn(i) {
    this.focused = i;
    this.draw();
    this.hover(i);
    if (i >= 0) byId("live").textContent = this.describe(i).join(", ");
  }
  open(i) {
    if (i < 0) return;
    this.selected = this.focused = i;
    this.draw();
    this.handlers.onOpen(i);
  }
  close() {
    this.selected = -1;
    this.draw();
    this.handlers.onClose();
  }

  setStep(index) {
    this.stepIndex = Math.max(0, Math.min(this.data.steps.length - 1, index));
    if (!this.visible(this.focused)) this.focused = -1;
    this.hover(-1);
    this.draw();
    this.handlers.onStep(this.stepIndex);
  }

  onKey(event) {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (way) {
      const next = this.focused < 0 ? this.firstVisible() : this.neighbour(this.focused, way[0], way[1]);
      if (next >= 0) this.focusOn(next);
    } else if (event.key === "Enter" || event.key === " ") this.open(this.focused);
    else if (event.key === "PageUp") this.setStep(this.stepIndex - 1);
    else if (event.key === "PageDown") this.setStep(this.stepIndex + 1);
    else if (event.key === "Home") this.setStep(0);
    else if (event.key === "End") this.setStep(Infinity);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
  }
}
