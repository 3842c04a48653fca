// The page put together.
async function start() {
  const data = await unpackData(), runs = data.runs;
  const shownRuns = new Set(runs), cards = [];
  let current = runs[0];

  const plane = new Plane({onOpen: openPoint, onClose: closeSample, onStep: showStep});

  function openPoint(point) {
    showSample(current, point, goTo, () => plane.close());
    byId("sample").focus({preventScroll: true});
  }
  function closeSample() {
    showNoSample();
    byId("plane-points").focus({preventScroll: true});
  }
  function goTo(point) {
    plane.setStep(d3.bisectRight(current.plane.steps, current.plane.step[point]) - 1);
    plane.open(point);
    byId("plane-section").scrollIntoView({block: "nearest"});
  }
  function chooseStep(step) {
    if (!current.plane.steps.length) return;
    plane.setStep(Math.min(current.plane.steps.length - 1, d3.bisectLeft(current.plane.steps, step)));
  }
  function showStep(index) {
    const steps = current.plane.steps;
    byId("step-slider").value = index;
    const label = steps.length ? `${steps[index]} of ${steps[steps.length - 1]}` : "-";
    byId("step-label").textContent = label;
    byId("step-slider").setAttribute("aria-valuetext", `step ${label}`);
  }

  function fill(id, made) {
    byId(id).replaceChildren(...made);
    for (const card of made) if (card.redraw) { cards.push(card); card.redraw(); }
  }
  function drawCharts() {
    cards.length = 0;
    fill("curves", trainingCards(runs.filter(run => shownRuns.has(run)), current, chooseStep));
    fill("flow", current.plane.count ? flowCards(current, chooseStep) : []);
  }
  function selectRun(run) {
    current = run;
    const judged = run.plane.count > 0;
    for (const id of ["plane-section", "flow-section", "fates-section"]) byId(id).hidden = !judged;
    byId("step-slider").max = Math.max(0, run.plane.steps.length - 1);
    drawCharts();
    showNoSample();
    if (!judged) return;
    plane.setRun(run);
    showStep(plane.stepIndex);
    byId("moves-block").hidden = !run.flow.moves.some(row => row.some(n => n > 0));
    byId("moves").replaceChildren(movesTable(run));
    byId("fates").replaceChildren(...fateCards(run, goTo));
  }

  function fillLegend() {
    const buttons = kQuadrants.map((q, k) => {
      const button = element("button", {type: "button", "aria-pressed": "true", title: q.meaning, onclick: () => {
        if (!plane.hidden.delete(k)) plane.hidden.add(k);
        button.setAttribute("aria-pressed", String(!plane.hidden.has(k)));
        plane.draw();
      }}, element("span", {class: "dot", style: {background: `var(${q.colour})`}}), quadrantLabel(q));
      return button;
    });
    const key = (dot, text) => element("span", {class: "key"}, dot, text);
    byId("legend").append(...buttons, key(element("span", {class: "dot", style: {background: "var(--quiet)"}}), "kept (light core: supplement)"),
      key(element("span", {class: "dot ring"}), "dropped"));
  }

  let timer = null;
  function play() {
    const stop = timer !== null;
    if (stop) { clearInterval(timer); timer = null; } else {
      if (plane.stepIndex === current.plane.steps.length - 1) plane.setStep(0);
      timer = setInterval(() => plane.stepIndex + 1 < current.plane.steps.length ? plane.setStep(plane.stepIndex + 1) : play(), 220);
    }
    byId("play").textContent = stop ? "Play" : "Pause";
    byId("play").setAttribute("aria-pressed", String(!stop));
  }

  byId("subtitle").textContent = runs.map(run => run.name).concat(data.sweeps.map(s => s.name)).join(", ");
  document.title = `qtune report: ${byId("subtitle").textContent}`;
  fillLegend();
  for (const id of ["runs-section", "curves-section", "plane-section", "flow-section", "fates-section"]) byId(id).hidden = !runs.length;
  byId("sweeps-section").hidden = !data.sweeps.length;
  byId("sweeps").append(...data.sweeps.map(sweepTable));
  if (runs.length) {
    byId("run-table").append(runTable(runs, run => shownRuns.has(run), (run, shown) => {
      shown ? shownRuns.add(run) : shownRuns.delete(run);
      drawCharts();
    }));
    byId("settings").append(settingsTable(runs));
    for (const run of runs) {
      const thinned = run.plane.count < run.plane.of ? [`the plane shows ${run.plane.count.toLocaleString("en")} of ${run.plane.of.toLocaleString("en")} judgements, in whole steps spread evenly`] : [];
      const averaged = run.curves.stride > 1 ? [`points of curves are means of ${run.curves.stride} steps`] : [];
      byId("run-notes").append(...[...run.notes, ...thinned, ...averaged].map(note => element("p", {class: "note"}, `${run.name}: ${note}`)));
    }
    byId("run-choice").append(...runs.map(run => element("option", {value: run.index}, run.name)));
    byId("run-choice").addEventListener("change", e => selectRun(runs[Number(e.target.value)]));
    byId("step-slider").addEventListener("input", e => plane.setStep(Number(e.target.value)));
    byId("mode").addEventListener("change", e => { plane.mode = e.target.value; plane.setStep(plane.stepIndex); });
    byId("play").addEventListener("click", play);
    byId("sample").addEventListener("keydown", e => { if (e.key === "Escape") plane.close(); });
    selectRun(current);
  }
  byId("contents").append(...[...document.querySelectorAll("main > section:not([hidden]) > h2")].map(h => element("a", {href: `#${h.parentElement.id}`}, h.textContent)));

  const redraw = () => { for (const card of cards) card.redraw(); if (current && current.plane.count) plane.layout(); };
  let pending = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.qtuneReport = {plane, data, selectRun: index => selectRun(runs[index])};  // for the browser test
  document.documentElement.dataset.ready = "true";
}

start().catch(error => {
  byId("subtitle").textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old for the report: it has no DecompressionStream (Chrome 80, Firefox 113, Safari 16.4 have it)."
    : `The report's data can't be read: ${error.message}`;
  console.error(error);
});
