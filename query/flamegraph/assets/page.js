// Wires the page: state, address, pointer, keys and search.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const tree = readTree(data);
const painter = new Painter(tree, data, $("canvas"), $("scroller"), $("stage"));
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

// `zoom`, `selected`, `hovered`: a node, -1 for the whole, null for none. `theme` null follows the system.
const state = { zoom: -1, selected: null, hovered: null, search: "", matches: null, icicle: data.icicle, chosenTheme: null, theme: "light" };

let isScheduled = false;
function redraw() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => { isScheduled = false; painter.draw(state); });
}

function layOut() {
  painter.layOut(state);
  painter.draw(state);
}

function nameOf(node) {
  return node < 0 ? "all" : data.symbols.name[tree.symbol[node]];
}

function factsOf(node) {
  const total = node < 0 ? tree.value : tree.total[node];
  const facts = [`${formatValue(total, tree.unit)}, ${formatShare(total, tree.value)} of all`];
  if (node < 0) return facts;
  const symbol = tree.symbol[node];
  const parent = tree.parent[node];
  if (parent >= 0) facts[0] += `, ${formatShare(total, tree.total[parent])} of its caller`;
  facts.push(`self ${formatValue(tree.self[node], tree.unit)}, ${formatShare(tree.self[node], tree.value)} of all`);
  if (tree.hidden[node]) facts.push(`${formatValue(tree.hidden[node], tree.unit)} in callees too narrow to draw`);
  const module = data.modules[data.symbols.module[symbol]];
  facts.push(`${data.families[data.symbols.family[symbol]].name}${data.symbols.inlined[symbol] ? ", inlined" : ""}${module ? ` · ${module}` : ""}`);
  return facts;
}

const HINT = "Point at a frame or press the arrow keys to read about it; a click or Enter zooms; ? lists the keys.";

function describe(node) {
  $("details").textContent = node === null ? HINT : `${nameOf(node)} — ${factsOf(node).join(" · ")}`;
}

function showTooltip(node, x, y) {
  const tooltip = $("tooltip");
  tooltip.hidden = node === null;
  if (node === null) return;
  const name = document.createElement("strong");
  name.textContent = nameOf(node);
  tooltip.replaceChildren(name, ...factsOf(node).map((fact) => Object.assign(document.createElement("span"), { textContent: fact })));
  const { width, height } = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.max(4, Math.min(x + 14, window.innerWidth - width - 8))}px`;
  tooltip.style.top = `${y + 18 + height > window.innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

function select(node) {
  state.selected = node;
  describe(node);
  if (node !== null) painter.scrollTo(node, state);
  redraw();
}

function zoomTo(node) {
  state.zoom = node;
  layOut();
  scrollHome();
  painter.scrollTo(node, state);
  showMatched();
  writeAddress();
  redraw();
}

function search(text) {
  state.search = text;
  state.matches = null;
  if (text) {
    const { regex, bad } = compilePattern(text);
    state.matches = Uint8Array.from(data.symbols.name, (name) => regex.test(name));
    $("matched").classList.toggle("bad", bad);
  }
  showMatched();
  writeAddress();
  redraw();
}

function showMatched() {
  const [start, end] = rangeOf(tree, state.zoom);
  $("matched").textContent = state.matches ? `${formatShare(matchedValue(tree, state.matches, state.zoom), end - start)} matched` : "";
}

function zoomToWidestMatch() {
  let widest = -1;
  for (let node = 0; node < tree.count; node++) {
    if (state.matches?.[tree.symbol[node]] && (widest < 0 || tree.total[node] > tree.total[widest])) widest = node;
  }
  if (widest < 0) return;
  zoomTo(widest);
  select(widest);
  $("scroller").focus();
}

function setTheme() {
  state.theme = state.chosenTheme || (prefersDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = state.theme;
  $("theme").textContent = state.theme === "dark" ? "Light" : "Dark";
  document.querySelectorAll("#legend i").forEach((swatch) => {
    swatch.style.background = data.palette[state.theme][Number(swatch.dataset.family)][4];
  });
  redraw();
}

function toggleTheme() {
  state.chosenTheme = state.theme === "dark" ? "light" : "dark";
  setTheme();
  writeAddress();
}

function setTurn(icicle) {
  state.icicle = icicle;
  $("turn").textContent = icicle ? "Flame" : "Icicle";
  layOut();
  scrollHome();
  redraw();
}

// To the outermost frames: the upper edge of an icicle, the lower one of a flame.
function scrollHome() {
  $("scroller").scrollTop = state.icicle ? 0 : painter.stageHeight;
}

function reset() {
  showTooltip(null);
  zoomTo(-1);
}

// The address: #zoom=INDEX:NAME&search=…&layout=…&theme=…; a node whose index now means another function, or that has
// no index, is looked up by its name.
function writeAddress() {
  const parts = new URLSearchParams();
  if (state.zoom >= 0) parts.set("zoom", `${state.zoom}:${nameOf(state.zoom)}`);
  if (state.search) parts.set("search", state.search);
  if (state.icicle !== data.icicle) parts.set("layout", state.icicle ? "icicle" : "flame");
  if (state.chosenTheme) parts.set("theme", state.chosenTheme);
  const text = parts.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch {
    // A page without an address of its own (a sandboxed frame) has none to keep.
  }
}

function findNode(text) {
  const [, index, named] = /^(\d+):(.*)$/s.exec(text) || [null, -1, text];
  if (index >= 0 && index < tree.count && nameOf(Number(index)) === named) return Number(index);
  for (let node = 0, best = -1; ; node++) {
    if (node === tree.count) return best;
    if (nameOf(node) === named && (best < 0 || tree.total[node] > tree.total[best])) best = node;
  }
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  state.chosenTheme = ["dark", "light"].includes(parts.get("theme")) ? parts.get("theme") : null;
  const layout = parts.get("layout");
  state.icicle = layout ? layout === "icicle" : data.icicle;
  state.zoom = parts.has("zoom") ? findNode(parts.get("zoom")) : -1;
  state.selected = state.zoom >= 0 ? state.zoom : null;
  setTheme();
  setTurn(state.icicle);
  $("search").value = parts.get("search") || "";
  search($("search").value);
  describe(state.selected);
  if (state.zoom >= 0) painter.scrollTo(state.zoom, state);
}

function childOf(node) {
  const level = node < 0 ? 0 : tree.depth[node] + 1;
  const [start, end] = rangeOf(tree, node);
  if (level >= tree.levelStart.length - 1) return node;
  const child = firstAfter(tree, level, start);
  return child < tree.levelStart[level + 1] && tree.offset[child] < end ? child : node;
}

function neighbourOf(node, step) {
  const next = node + step;
  const level = tree.depth[node];
  const isSameLevel = next >= tree.levelStart[level] && next < tree.levelStart[level + 1];
  return isSameLevel && isWithin(tree, next, state.zoom) ? next : node;
}

function move(key) {
  if (state.selected === null) return select(state.zoom);
  const node = state.selected;
  const outward = state.icicle ? "ArrowUp" : "ArrowDown";
  if (key === outward) return select(node < 0 ? -1 : tree.parent[node]);
  if (key === "ArrowUp" || key === "ArrowDown") return select(childOf(node));
  return node < 0 ? undefined : select(neighbourOf(node, key === "ArrowLeft" ? -1 : 1));
}

const KEYS = {
  ArrowUp: move, ArrowDown: move, ArrowLeft: move, ArrowRight: move,
  Enter: () => zoomTo(state.selected ?? -1),
  Escape: reset,
  Backspace: reset,
  "/": () => $("search").focus(),
  "?": () => $("keys").showModal(),
  i: () => { setTurn(!state.icicle); writeAddress(); },
  t: toggleTheme,
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "f") {
    event.preventDefault();
    $("search").select();
    return;
  }
  const isElsewhere = event.target.closest("input, button, summary, dialog, td");
  if (event.ctrlKey || event.metaKey || event.altKey || (isElsewhere && event.key !== "Escape")) return;
  if ($("keys").open || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  if (event.target === $("search")) { $("search").value = ""; search(""); $("scroller").focus(); return; }
  KEYS[event.key](event.key);
});

$("search").addEventListener("input", (event) => search(event.target.value));
$("search").addEventListener("keydown", (event) => { if (event.key === "Enter") zoomToWidestMatch(); });
$("reset").addEventListener("click", reset);
$("turn").addEventListener("click", KEYS.i);
$("theme").addEventListener("click", toggleTheme);
$("help").addEventListener("click", KEYS["?"]);

$("canvas").addEventListener("mousemove", (event) => {
  const node = painter.hit(event.clientX, event.clientY, state);
  showTooltip(node, event.clientX, event.clientY);
  if (node === state.hovered) return;
  state.hovered = node;
  describe(node ?? state.selected);
  $("canvas").style.cursor = node === null ? "default" : "pointer";
  redraw();
});
$("canvas").addEventListener("mouseleave", () => {
  showTooltip(null);
  state.hovered = null;
  describe(state.selected);
  redraw();
});
$("canvas").addEventListener("click", (event) => {
  const node = painter.hit(event.clientX, event.clientY, state);
  if (node === null) return;
  select(node);
  zoomTo(node);
});
$("scroller").addEventListener("scroll", redraw, { passive: true });
prefersDark.addEventListener("change", setTheme);
window.addEventListener("hashchange", readAddress);
// A flame stands on its lowest row: keep the lower edge where it was when the window grows or shrinks.
new ResizeObserver(() => {
  const { bottom } = painter;
  layOut();
  if (!state.icicle) $("scroller").scrollTop = bottom - painter.height;
  redraw();
}).observe($("scroller"));

$("hottest").addEventListener("toggle", () => {
  const body = $("hottest").querySelector("tbody");
  if (body.childElementCount) return;
  const selves = new Float64Array(data.symbols.name.length);
  for (let node = 0; node < tree.count; node++) selves[tree.symbol[node]] += tree.self[node];
  const hottest = [...selves.keys()].filter((symbol) => selves[symbol]).sort((a, b) => selves[b] - selves[a]).slice(0, 100);
  for (const symbol of hottest) {
    const name = document.createElement("button");
    name.textContent = data.symbols.name[symbol];
    name.addEventListener("click", () => {
      $("search").value = `^${name.textContent.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$`;
      search($("search").value);
    });
    const row = body.insertRow();
    row.insertCell().textContent = formatValue(selves[symbol], tree.unit);
    row.insertCell().textContent = formatShare(selves[symbol], tree.value);
    row.insertCell().append(name);
    row.insertCell().textContent = data.modules[data.symbols.module[symbol]] || "";
  }
});

readAddress();
