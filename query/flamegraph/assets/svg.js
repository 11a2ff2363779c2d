// Makes the picture answer: zoom, search, keys, theme. Without it the picture stands as it is.

const svg = document.documentElement;
const frames = [...document.querySelectorAll(".frame")];
const tree = readFrames();
const context = document.createElementNS("http://www.w3.org/1999/xhtml", "canvas").getContext("2d");
context.font = '12px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif';
const state = { zoom: -1, selected: -1, search: "", matches: null };

function readFrames() {
  const count = frames.length;
  const result = { count, value: Number(svg.dataset.total), unit: svg.dataset.unit, levelStart: [], names: [], symbol: new Uint32Array(count), parent: new Int32Array(count), depth: new Uint32Array(count), offset: new Float64Array(count), total: new Float64Array(count) };
  frames.forEach((frame, i) => {
    const level = Number(frame.parentNode.dataset.level);
    while (result.levelStart.length <= level) result.levelStart.push(i);
    result.symbol[i] = i;
    result.depth[i] = level;
    result.offset[i] = Number(frame.dataset.o);
    result.total[i] = Number(frame.dataset.v);
    result.names.push(frame.querySelector("title").textContent.split("\n", 1)[0]);
  });
  result.levelStart.push(count);
  for (let i = 0; i < count; i++) result.parent[i] = nodeAt(result, result.depth[i] - 1, result.offset[i]);
  return result;
}

function fit(text, width) {
  if (width < 22) return "";
  if (context.measureText(text).width <= width) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low < 3 ? "" : `${text.slice(0, low)}…`;
}

function layOut() {
  const [start, end] = rangeOf(tree, state.zoom);
  const width = svg.getBoundingClientRect().width;
  for (let i = 0; i < tree.count; i++) {
    const frame = frames[i];
    const isAbove = state.zoom >= 0 && i !== state.zoom && isWithin(tree, state.zoom, i);
    const isShown = isAbove || isWithin(tree, i, state.zoom);
    frame.style.display = isShown ? "" : "none";
    frame.classList.toggle("above", isAbove);
    if (!isShown) continue;
    const x = isAbove ? 0 : (100 * (tree.offset[i] - start)) / (end - start);
    const share = isAbove ? 100 : (100 * tree.total[i]) / (end - start);
    const rect = frame.querySelector("rect");
    rect.setAttribute("x", `${x}%`);
    rect.setAttribute("width", `${share}%`);
    const shown = fit(tree.names[i], (share / 100) * width - 6);
    let text = frame.querySelector("text");
    if (!text && shown) {
      text = frame.appendChild(document.createElementNS(svg.namespaceURI, "text"));
      text.setAttribute("dx", "3");
      text.setAttribute("y", String(Number(rect.getAttribute("y")) + 13));
    }
    if (text) {
      text.setAttribute("x", `${x}%`);
      text.textContent = shown;
    }
  }
}

function describe(node) {
  document.getElementById("details").textContent = node < 0 ? "" : frames[node].querySelector("title").textContent.split("\n").join(" · ");
}

function select(node) {
  frames[state.selected]?.classList.remove("selected");
  state.selected = node;
  frames[node]?.classList.add("selected");
  describe(node);
  frames[node]?.querySelector("rect").scrollIntoView?.({ block: "nearest" });
}

function zoomTo(node) {
  if (frames[node]) select(node);
  state.zoom = node;
  layOut();
  showMatched();
  writeAddress();
}

function search(text) {
  state.search = text;
  const { regex } = compilePattern(text);
  state.matches = text ? Uint8Array.from(tree.names, (name) => regex.test(name)) : null;
  svg.classList.toggle("searching", Boolean(text));
  frames.forEach((frame, i) => frame.classList.toggle("match", Boolean(state.matches?.[i])));
  showMatched();
  writeAddress();
}

function showMatched() {
  const [start, end] = rangeOf(tree, state.zoom);
  document.getElementById("matched").textContent = state.matches ? `${formatShare(matchedValue(tree, state.matches, state.zoom), end - start)} matched` : "";
}

function askSearch() {
  const text = window.prompt("Search functions by regular expression", state.search);
  if (text !== null) search(text);
}

function toggleTheme() {
  const isDark = svg.dataset.theme ? svg.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  svg.dataset.theme = isDark ? "light" : "dark";
  writeAddress();
}

function reset() {
  select(-1);
  zoomTo(-1);
  if (state.search) search("");
}

function writeAddress() {
  const parts = new URLSearchParams();
  if (state.zoom >= 0) parts.set("zoom", `${state.zoom}:${tree.names[state.zoom]}`);
  if (state.search) parts.set("search", state.search);
  if (svg.dataset.theme) parts.set("theme", svg.dataset.theme);
  const text = parts.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch {
    // A picture inside another page has no address of its own.
  }
}

function findNode(text) {
  const [, index, named] = /^(\d+):(.*)$/s.exec(text) || [null, -1, text];
  if (index >= 0 && tree.names[index] === named) return Number(index);
  return tree.names.reduce((best, name, i) => (name === named && (best < 0 || tree.total[i] > tree.total[best]) ? i : best), -1);
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (["dark", "light"].includes(parts.get("theme"))) svg.dataset.theme = parts.get("theme");
  state.zoom = parts.has("zoom") ? findNode(parts.get("zoom")) : -1;
  select(state.zoom);
  layOut();
  search(parts.get("search") || "");
}

function move(key) {
  const node = state.selected;
  const outward = svg.dataset.layout === "icicle" ? "ArrowUp" : "ArrowDown";
  if (node < 0) return select(Math.max(state.zoom, 0));
  if (key === outward) return select(tree.parent[node] < 0 ? node : tree.parent[node]);
  if (key === "ArrowUp" || key === "ArrowDown") {
    const child = nodeAt(tree, tree.depth[node] + 1, tree.offset[node]);
    return child < 0 ? undefined : select(child);
  }
  const next = node + (key === "ArrowLeft" ? -1 : 1);
  return tree.depth[next] === tree.depth[node] && isWithin(tree, next, state.zoom) ? select(next) : undefined;
}

const KEYS = { ArrowUp: move, ArrowDown: move, ArrowLeft: move, ArrowRight: move, Enter: () => zoomTo(state.selected), Escape: reset, Backspace: reset, "/": askSearch, t: toggleTheme };
const BUTTONS = { "do-reset": reset, "do-search": askSearch, "do-theme": toggleTheme };

document.addEventListener("keydown", (event) => {
  const isFind = (event.ctrlKey || event.metaKey) && event.key === "f";
  if (!isFind && (event.ctrlKey || event.metaKey || event.altKey)) return;
  const button = event.key === "Enter" && BUTTONS[event.target.id];
  const action = isFind ? askSearch : button || (Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null);
  if (!action) return;
  event.preventDefault();
  action(event.key);
});
document.addEventListener("click", (event) => {
  const frame = event.target.closest(".frame");
  if (frame) {
    const node = frames.indexOf(frame);
    zoomTo(node);
  } else if (event.target.id === "all") zoomTo(-1);
  else BUTTONS[event.target.id]?.();
});
document.addEventListener("mouseover", (event) => {
  const frame = event.target.closest(".frame");
  describe(frame ? frames.indexOf(frame) : state.selected);
});
window.addEventListener("resize", layOut);
window.addEventListener("hashchange", readAddress);
document.querySelectorAll(".button").forEach((button) => { button.style.display = ""; });
svg.setAttribute("width", "100%");
readAddress();
// A flame stands on its lowest row, which a tall picture would leave out of sight.
if (svg.dataset.layout === "flame" && state.zoom < 0) window.scrollTo(0, svg.getBoundingClientRect().height);
