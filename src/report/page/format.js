// Numbers, names and colours as readers see them; small makers of elements.
const kQuadrants = [
  {name: "Q1", title: "noise", colour: "--q1", meaning: "high perplexity, high entropy"},
  {name: "Q2", title: "misconception", colour: "--q2", meaning: "high perplexity, low entropy"},
  {name: "Q3", title: "redundant", colour: "--q3", meaning: "low perplexity, low entropy"},
  {name: "Q4", title: "calibration", colour: "--q4", meaning: "low perplexity, high entropy"},
  {name: "middle", title: "", colour: "--mid", meaning: "between the thresholds"},
];
const kKept = 8, kSupplement = 16;
const kRunColours = ["#4477aa", "#ee6677", "#228833", "#b8a51f", "#33a8cf", "#aa3377", "#888888"];  // Paul Tol's bright ones

function runColour(index) { return kRunColours[index % kRunColours.length]; }
function cssColour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
function quadrantOf(flags) { return flags & 7; }

const finite = x => x !== null && x !== undefined && isFinite(x);
function short(x, digits = 4) {
  if (!finite(x)) return "-";
  if (x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e6)) return x.toExponential(2).replace(/\.?0*e\+?/, "e");
  return Number.isInteger(x) ? x.toLocaleString("en") : String(Number(x.toPrecision(digits)));
}
function bytesText(x) {
  if (!finite(x)) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let k = 0;
  for (; x >= 1024 && k < 4; ++k) x /= 1024;
  return `${x.toFixed(x < 10 && k > 0 ? 1 : 0)} ${units[k]}`;
}
function secondsText(s) {
  if (!finite(s)) return "-";
  if (s < 60) return `${short(s, 3)} s`;
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(s % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
function quadrantLabel(q) { return q.title ? `${q.name} ${q.title}` : q.name; }
function percent(share) { return finite(share) ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` : "-"; }

// element("td", {class: "x", onclick: f}, "text", child): all text goes in as text, never as markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}
function table(head, rows, attributes = {}) {
  return element("table", attributes, element("thead", {}, element("tr", {}, ...head.map(h => element("th", {scope: "col"}, h)))),
    element("tbody", {}, ...rows.map(row => element("tr", {}, ...row.map(cell => element("td", {}, cell))))));
}
function byId(id) { return document.getElementById(id); }
