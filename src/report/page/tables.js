// Runs beside each other, samples that are never or always kept, sweeps.
const kRowsShown = 200;

function lastOf(list) { return list.length ? list[list.length - 1] : NaN; }

function runFacts(run) {
  const c = run.curves, per = c.stride;
  const sum = name => d3.sum(c[name]) * per;  // means of `stride` steps; the last group may be smaller
  const seconds = ["score", "decide", "train", "optimizer", "other"].reduce((total, name) => total + sum(name), 0);
  const value = key => (run.config[key] || "").replace(/^"|"$/g, "");
  const method = kind => value(`pruning.${kind}.method`) === "none" || !value(`pruning.${kind}.method`) ? value(`pruning.${kind}.method`) || "-" : `${value(`pruning.${kind}.method`)} ${value(`pruning.${kind}.keep`)}`;
  const planned = run.total_steps ? ` of ${run.total_steps}` : "";
  return [`${run.num_steps}${planned}`, method("sample"), method("token"), short(c.loss.find(finite)), short(lastOf(c.loss.filter(finite))),
    short(lastOf(run.evaluations.loss)), percent(sum("tokens_trained") / sum("tokens_seen")), short(sum("tokens_seen") / seconds, 3),
    bytesText(d3.max(c.memory)), secondsText(seconds)];
}

function runTable(runs, isShown, onToggle) {
  const head = ["run", "steps", "samples", "tokens", "first loss", "last loss", "held-out loss", "tokens trained", "tokens/s", "peak memory", "time in steps"];
  const rows = runs.map(run => {
    const box = element("input", {type: "checkbox", "aria-label": `Show ${run.name} in the charts`, onchange: () => onToggle(run, box.checked)});
    box.checked = isShown(run);
    const name = element("label", {title: run.folder}, box, element("span", {class: "swatch", style: {borderColor: run.colour, borderTopStyle: run.dash ? "dashed" : "solid"}}), run.name);
    return [name, ...runFacts(run)];
  });
  return table(head, rows);
}

function settingsTable(runs) {
  const keys = [...new Set([].concat(...runs.map(run => Object.keys(run.config))))];
  const differs = key => runs.some(run => run.config[key] !== runs[0].config[key]);
  keys.sort((a, b) => differs(b) - differs(a));
  const rows = keys.map(key => [element(differs(key) ? "strong" : "span", {}, key), ...runs.map(run => run.config[key] || "-")]);
  return table(["key", ...runs.map(run => run.name)], rows, {class: "texts"});
}

function lastPointOf(run) {
  const last = new Map();
  for (let i = 0; i < run.plane.count; ++i) last.set(run.plane.sample[i], i);
  return last;
}

// The two lists, most judged first.
function fateCards(run, openPoint) {
  const {judged, kept} = run.totals, last = lastPointOf(run), indices = Array.from(run.ids.keys());
  return [["Never kept", i => kept[i] === 0], ["Always kept", i => kept[i] === judged[i]]].map(([title, holds]) => {
    const found = indices.filter(i => judged[i] > 0 && holds(i)).sort((a, b) => judged[b] - judged[a] || a - b);
    const rows = found.slice(0, kRowsShown).map(i => {
      const point = last.get(i);
      const name = point === undefined ? run.ids[i] : element("button", {type: "button", title: run.ids[i], onclick: () => openPoint(point)}, run.ids[i]);
      return [name, judged[i], point === undefined ? "-" : kQuadrants[quadrantOf(run.plane.flags[point])].name, point === undefined ? "-" : short(Math.exp(run.plane.logPpl[point]), 3)];
    });
    const more = found.length > kRowsShown ? `; the first ${kRowsShown} are listed` : "";
    return element("div", {class: "card"}, element("h3", {}, title), element("div", {class: "readout"}, `${found.length.toLocaleString("en")} of ${run.ids.length.toLocaleString("en")} samples${more}`),
      element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": title}, table(["sample", "judged", "last quadrant", "last perplexity"], rows)));
  });
}

function sweepTable(sweep) {
  const columns = sweep.columns.map(c => typeof c === "string" ? c : c.name);
  const body = element("tbody"), cellText = v => typeof v === "number" ? short(v, 5) : v === null || v === undefined ? "-" : typeof v === "string" ? v : JSON.stringify(v);
  let sorted = null, ascending = true;
  const fill = () => {
    const rows = sweep.rows.slice();
    if (sorted !== null) rows.sort((a, b) => (ascending ? 1 : -1) * d3.ascending(a[sorted], b[sorted]));
    body.replaceChildren(...rows.map(row => element("tr", {}, ...columns.map(c => element("td", {}, cellText(row[c]))))));
    heads.forEach((head, k) => head.setAttribute("aria-sort", columns[k] === sorted ? (ascending ? "ascending" : "descending") : "none"));
  };
  const sortBy = column => {
    ascending = sorted === column ? !ascending : true;
    sorted = column;
    fill();
  };
  const heads = columns.map(c => element("th", {scope: "col"}, element("button", {type: "button", title: "Sort by this column", onclick: () => sortBy(c)}, c)));
  fill();
  return element("div", {}, element("h3", {}, sweep.name), element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": `Sweep ${sweep.name}`},
    element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)));
}
