// The data block, unpacked: deflated JSON in base64 whose columns are integers in byte planes (src/report/pack.h).
function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function integers(base64, width) {
  const bytes = bytesOf(base64), count = bytes.length / width, values = new Uint32Array(count);
  for (let plane = 0; plane < width; ++plane) {
    for (let i = 0; i < count; ++i) values[i] |= bytes[plane * count + i] << (8 * plane);
  }
  return values;
}

// NaN for what was not finite.
function reals(packed) {
  const places = integers(packed.q, 2), values = new Float64Array(places.length), step = (packed.hi - packed.lo) / 65534;
  for (let i = 0; i < values.length; ++i) values[i] = places[i] === 0 ? NaN : packed.lo + (places[i] - 1) * step;
  return values;
}

function bit(bytes, i) { return (bytes[i >> 3] >> (i & 7)) & 1; }

function unpackRun(run, index) {
  const p = run.plane;
  const plane = {
    count: p.count, of: p.of, steps: p.steps, begins: p.begins.concat([p.count]), thresholds: p.thresholds,
    sample: integers(p.sample, 4), logPpl: reals(p.log_ppl), entropy: reals(p.entropy), flags: integers(p.flags, 1),
    tokens: integers(p.tokens, 2), step: new Uint32Array(p.count),
  };
  plane.steps.forEach((step, k) => plane.step.fill(step, plane.begins[k], plane.begins[k + 1]));
  const totals = {judged: integers(run.totals.judged, 2), kept: integers(run.totals.kept, 2)};
  return Object.assign(run, {index, plane, totals, colour: runColour(index), dash: index < 7 ? "" : "5 3"});
}

async function unpackData() {
  const packed = new Blob([bytesOf(document.getElementById("data").textContent)]);
  const stream = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(stream).json();
  data.runs = data.runs.map(unpackRun);
  return data;
}
