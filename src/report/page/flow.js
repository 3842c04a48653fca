// How the samples are spread over the quadrants, step after step, and where they go.
function flowCards(run, choose) {
  const layers = key => kQuadrants.map((q, k) => ({name: q.name, colour: `var(${q.colour})`, values: run.flow[key].map(counts => counts[k])}));
  return [areaCard("Judged samples, share of each quadrant", run.flow.step, layers("judged"), percent, choose, {shares: true}),
    areaCard("Kept samples, share of each quadrant", run.flow.step, layers("kept"), percent, choose, {shares: true})];
}

function movesTable(run) {
  const rows = run.flow.moves.map((row, from) => {
    const total = d3.sum(row);
    return element("tr", {}, element("th", {scope: "row"}, quadrantLabel(kQuadrants[from])),
      ...row.map((n, to) => element("td", {title: `${n} of ${total}`,
        style: {background: `color-mix(in srgb, var(${kQuadrants[to].colour}) ${total ? Math.round(45 * n / total) : 0}%, transparent)`}}, total ? percent(n / total) : "-")),
      element("td", {}, total.toLocaleString("en")));
  });
  const head = ["from \\ to", ...kQuadrants.map(quadrantLabel), "judged again"];
  return element("table", {}, element("thead", {}, element("tr", {}, ...head.map(h => element("th", {scope: "col"}, h)))), element("tbody", {}, ...rows));
}
