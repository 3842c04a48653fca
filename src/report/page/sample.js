// One sample: its scores and fates, and its text with the pruned tokens struck.
function showNoSample() {
  byId("sample").replaceChildren(element("h3", {id: "sample-heading"}, "No sample chosen"),
    element("p", {class: "quiet"}, "Click a point, or walk to one with the arrow keys and press Enter: its text appears here, its pruned tokens struck."));
}

// Where the pieces' trainable tokens begin: pieces[i] stands for tokens [starts[i], starts[i + 1]).
function tokenStarts(text) {
  const starts = [0];
  for (const n of text.trainable) starts.push(starts[starts.length - 1] + n);
  return starts;
}

function keptFlags(run, point) {
  const flags = run.plane.flags[point];
  if (!(flags & kKept)) return () => false;
  const packed = run.samples.kept[point];
  if (packed === undefined) return () => true;
  const bytes = bytesOf(packed);
  return k => bit(bytes, k) === 1;
}

// 0 for the least salient token of the sample, 1 for the most: by rank, since saliences span many powers of ten.
function salienceRanks(text) {
  const values = reals(text.salience), order = Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(values.length);
  order.forEach((k, place) => { ranks[k] = values.length > 1 ? place / (values.length - 1) : 0; });
  return {values, ranks};
}

function textElement(run, point, text) {
  const starts = tokenStarts(text), isKept = keptFlags(run, point), kept = run.plane.flags[point] & kKept;
  const salience = text.salience ? salienceRanks(text) : null;
  const block = element("div", {class: "text", tabindex: "0", role: "region", "aria-label": "Text of the sample"});
  text.pieces.forEach((piece, i) => {
    if (text.trainable[i] === 0) {
      block.append(element("span", {class: "context"}, piece));
      return;
    }
    const k = starts[i], inLoss = isKept(k);
    const span = element("span", {class: `token ${inLoss ? "in-loss" : kept ? "pruned" : ""}`}, piece);
    if (salience) {
      span.style.background = `color-mix(in srgb, var(--q2) ${Math.round(60 * salience.ranks[k])}%, transparent)`;
      span.title = `salience ${short(Math.exp(salience.values[k]))}, ${inLoss ? "in the loss" : "not in the loss"}`;
    }
    block.append(span);
  });
  return block;
}

function textLegend(run, point, text) {
  const f = run.plane.flags[point], line = element("p", {class: "text-legend"});
  line.append(f & kKept ? "Underlined: in the loss. Struck: pruned. Grey: never trained. " : "Dropped in this step: none of it was trained. Grey: never trained. ");
  if (text.salience) {
    line.append("Salience: low", element("span", {class: "ramp", style: {background: "linear-gradient(90deg, transparent, color-mix(in srgb, var(--q2) 60%, transparent))"}}), "high.");
  } else {
    line.append("Salience is not in a run's logs: give the report --scores FILE (from qtune score) to see it.");
  }
  return line;
}

function historyElement(run, point, openPoint) {
  const {sample, step, flags, count} = run.plane, list = element("div", {class: "history", role: "group", "aria-label": "Judgements of this sample"});
  for (let i = 0; i < count; ++i) {
    if (sample[i] !== sample[point]) continue;
    const q = kQuadrants[quadrantOf(flags[i])], kept = flags[i] & kKept;
    list.append(element("button", {type: "button", "aria-current": String(i === point), onclick: () => openPoint(i)},
      element("span", {class: `dot${kept ? "" : " ring"}`, style: kept ? {background: `var(${q.colour})`} : {borderColor: `var(${q.colour})`}}),
      `step ${step[i]} ${q.name}${kept ? "" : ", dropped"}`));
  }
  return list;
}

function showSample(run, point, openPoint, close) {
  const p = run.plane, f = p.flags[point], q = kQuadrants[quadrantOf(f)], sample = p.sample[point], text = run.samples.texts[sample];
  const total = text ? d3.sum(text.trainable) : null;
  const fate = !(f & kKept) ? "dropped" : `kept${f & kSupplement ? " as a supplement" : ""}, ${p.tokens[point]}${total === null ? "" : ` of ${total}`} tokens in the loss`;
  const facts = [["step", p.step[point]], ["perplexity", short(Math.exp(p.logPpl[point]))], ["mean entropy", `${short(p.entropy[point])} nats`],
    ["quadrant", `${quadrantLabel(q)}: ${q.meaning}`], ["fate", fate], ["in the whole run", `judged ${run.totals.judged[sample]} times, kept ${run.totals.kept[sample]} times`]];
  const list = element("dl");
  for (const [name, value] of facts) list.append(element("dt", {}, name), element("dd", {}, String(value)));
  byId("sample").replaceChildren(
    element("header", {}, element("h3", {id: "sample-heading"}, run.ids[sample]), element("button", {type: "button", onclick: close, "aria-label": "Close the sample"}, "Close")),
    list, historyElement(run, point, openPoint),
    ...(text ? [textLegend(run, point, text), textElement(run, point, text)] : [element("p", {class: "quiet"}, "The text of this sample is not in the report.")]));
  // The prompt may be long: what is trained comes first into view.
  const first = byId("sample").querySelector(".token"), block = byId("sample").querySelector(".text");
  if (first) block.scrollTop = first.offsetTop - 70;
}
