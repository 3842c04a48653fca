// Curves over the steps, one colour a run, and stacked areas.
const kMargin = {left: 56, right: 12, top: 8, bottom: 24};
const kChartHeight = 190;

// A card with an empty chart. draw(svg, width, height, card) fills it, again when the page's width changes.
function chartCard(title, draw) {
  const readout = element("div", {class: "readout"});
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("height", kChartHeight);
  const card = element("div", {class: "card"}, element("h3", {}, title), readout, svg);
  card.redraw = () => {
    const width = Math.max(220, svg.getBoundingClientRect().width);
    svg.replaceChildren();
    draw(d3.select(svg).append("g").attr("transform", `translate(${kMargin.left},${kMargin.top})`),
      width - kMargin.left - kMargin.right, kChartHeight - kMargin.top - kMargin.bottom, {svg, readout});
  };
  return card;
}

function drawAxes(g, x, y, width, height, yFormat) {
  g.append("g").attr("class", "axis").attr("transform", `translate(0,${height})`)
    .call(d3.svg.axis().scale(x).orient("bottom").ticks(Math.max(2, width / 80)).tickSize(3).tickFormat(d3.format("d")));
  g.append("g").attr("class", "axis")
    .call(d3.svg.axis().scale(y).orient("left").ticks(4).tickSize(-width, 0).tickPadding(7).tickFormat(yFormat));
}

// A cursor that mouse and arrow keys move over `steps`; show(k) writes the readout, choose(step) is what Enter does.
function addCursor(g, svg, x, height, steps, show, choose) {
  if (!steps.length) return;
  const line = g.append("line").attr("class", "cursor").attr("y1", 0).attr("y2", height).style("display", "none");
  let at = steps.length - 1;
  const moveTo = k => {
    at = Math.max(0, Math.min(steps.length - 1, k));
    line.attr("x1", x(steps[at])).attr("x2", x(steps[at])).style("display", null);
    show(at);
  };
  show(at);
  svg.setAttribute("tabindex", "0");
  svg.onmousemove = event => {
    const step = x.invert(event.clientX - svg.getBoundingClientRect().left - kMargin.left);
    const k = d3.bisectLeft(steps, step);
    moveTo(k > 0 && (k === steps.length || step - steps[k - 1] < steps[k] - step) ? k - 1 : k);
  };
  svg.onmouseleave = svg.onblur = () => line.style("display", "none");
  svg.onclick = () => choose(steps[at]);
  svg.onkeydown = event => {
    const by = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -steps.length, End: steps.length}[event.key];
    if (by !== undefined) moveTo(at + by);
    else if (event.key === "Enter") choose(steps[at]);
    else return;
    event.preventDefault();
  };
}

function extentOf(series, pick) {
  const values = [].concat(...series.map(s => s.points.map(pick))).filter(finite);
  return values.length ? d3.extent(values) : [0, 1];
}

// series: [{run, kind, points: [{step, value}]}]
function curveCard(title, series, format, options, choose) {
  return chartCard(title, (g, width, height, {svg, readout}) => {
    const x = d3.scale.linear().domain(extentOf(series, p => p.step)).range([0, width]);
    const [lo, hi] = extentOf(series, p => p.value);
    const y = d3.scale.linear().domain([options.fromZero ? 0 : lo, hi === lo ? lo + (Math.abs(lo) || 1) : hi]).nice(4).range([height, 0]);
    drawAxes(g, x, y, width, height, format);
    const line = d3.svg.line().defined(p => finite(p.value)).x(p => x(p.step)).y(p => y(p.value));
    for (const s of series) {
      g.append("path").attr("class", `curve ${s.kind}`).attr("d", line(s.points)).style("stroke", s.run.colour)
        .style("stroke-dasharray", s.kind === "heldout" ? "5 3" : s.run.dash);
      if (s.kind !== "heldout" && s.points.length > 1) continue;
      for (const p of s.points.filter(p => finite(p.value)))
        g.append("circle").attr("r", 3).attr("cx", x(p.step)).attr("cy", y(p.value)).style("fill", s.run.colour);
    }
    const longest = series.reduce((a, b) => b.points.length > a.points.length ? b : a, {points: []});
    const steps = longest.points.map(p => p.step);
    const show = k => {
      const parts = series.filter(s => s.kind !== "raw").map(s => {
        const i = Math.min(s.points.length - 1, d3.bisector(p => p.step).left(s.points, steps[k]));
        const there = i >= 0 && steps[k] <= s.points[s.points.length - 1].step;
        const label = `${s.kind === "heldout" ? "held-out " : ""}${format(there ? s.points[i].value : NaN)}`;
        return series.some(other => other.run !== s.run) ? `${s.run.name}: ${label}` : label;
      });
      readout.textContent = `step ${steps[k]}: ${parts.join(", ")}`;
      readout.title = readout.textContent;
      svg.setAttribute("aria-label", `${title}, ${readout.textContent}`);
    };
    svg.setAttribute("role", "img");
    addCursor(g, svg, x, height, steps, show, choose);
  });
}

// layers: [{name, colour, values}], one value a step.
function areaCard(title, steps, layers, format, choose, options = {}) {
  return chartCard(title, (g, width, height, {svg, readout}) => {
    const totals = steps.map((_, i) => d3.sum(layers, l => l.values[i] || 0));
    const share = (l, i) => options.shares ? (totals[i] ? l.values[i] / totals[i] : 0) : l.values[i] || 0;
    const stack = d3.layout.stack()(layers.map(l => steps.map((step, i) => ({x: step, y: share(l, i)}))));
    const x = d3.scale.linear().domain(steps.length > 1 ? d3.extent(steps) : [0, 1]).range([0, width]);
    const y = d3.scale.linear().domain([0, options.shares ? 1 : d3.max(totals) || 1]).range([height, 0]);
    drawAxes(g, x, y, width, height, format);
    const area = d3.svg.area().x(d => x(d.x)).y0(d => y(d.y0)).y1(d => y(d.y0 + d.y));
    layers.forEach((l, k) => g.append("path").attr("d", area(stack[k])).style("fill", l.colour).style("opacity", 0.82)
      .append("title").text(l.name));
    const show = i => {
      readout.textContent = `step ${steps[i]}: ` + layers.map(l => `${l.name} ${format(share(l, i))}`).join(", ");
      readout.title = readout.textContent;
      svg.setAttribute("aria-label", `${title}, ${readout.textContent}`);
    };
    svg.setAttribute("role", "img");
    addCursor(g, svg, x, height, steps, show, choose);
  });
}

function pointsOf(steps, values) { return steps.map((step, i) => ({step, value: values[i]})); }

// Means over a window that grows with the curve: single steps of a pruned batch jump.
function smoothed(points) {
  const half = Math.floor(points.length / 40);
  return points.map((p, i) => ({step: p.step, value: d3.mean(points.slice(Math.max(0, i - half), i + half + 1), q => q.value)}));
}

function trainingCards(runs, selected, choose) {
  const loss = [];
  for (const run of runs) {
    const points = pointsOf(run.curves.step, run.curves.loss);
    if (points.length >= 80) loss.push({run, kind: "raw", points});
    loss.push({run, kind: "", points: smoothed(points)});
    if (run.evaluations.step.length) loss.push({run, kind: "heldout", points: pointsOf(run.evaluations.step, run.evaluations.loss)});
  }
  const each = pick => runs.map(run => ({run, kind: "", points: pointsOf(run.curves.step, run.curves.step.map((_, i) => pick(run.curves, i)))}));
  const seconds = (c, i) => c.score[i] + c.decide[i] + c.train[i] + c.optimizer[i] + c.other[i];
  const phases = [["score", "--q3"], ["decide", "--q1"], ["train", "--q4"], ["optimizer", "--q2"], ["other", "--mid"]];
  const phaseLayers = phases.map(([name, colour]) => ({name, colour: `var(${colour})`, values: selected.curves[name]}));
  return [
    curveCard("Loss, nats a token (dashed: held-out)", loss, x => short(x, 4), {}, choose),
    curveCard("Learning rate", each((c, i) => c.learning_rate[i]), x => short(x, 3), {fromZero: true}, choose),
    curveCard("Gradient norm before clipping", each((c, i) => c.grad_norm[i]), x => short(x, 3), {fromZero: true}, choose),
    curveCard("Throughput, tokens seen a second", each((c, i) => seconds(c, i) > 0 ? c.tokens_seen[i] / seconds(c, i) : NaN), x => short(x, 3), {fromZero: true}, choose),
    curveCard("Peak memory, GiB", each((c, i) => c.memory[i] / 2 ** 30), x => short(x, 3), {fromZero: true}, choose),
    areaCard(`Seconds a step by phase: ${selected.name}`, selected.curves.step, phaseLayers, x => short(x, 2), choose),
  ];
}
