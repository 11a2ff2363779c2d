// The call tree: the columns that the page carries, and what follows from them. Nodes stand level by level, parents
// before children, siblings side by side, so a level's nodes are in ascending order of their offset.

function readTree(data) {
  const count = data.nodes.symbol.length;
  const tree = {
    count,
    unit: data.unit,
    value: data.value,
    symbols: data.symbols,
    symbol: Uint32Array.from(data.nodes.symbol),
    parent: new Int32Array(count),
    self: Float64Array.from(data.nodes.self),
    total: Float64Array.from(data.nodes.self),
    hidden: new Float64Array(count),
    offset: new Float64Array(count),
    depth: new Uint32Array(count),
    levelStart: [0],
  };
  // Parents never decrease, so the file holds only their steps.
  for (let i = 0, parent = -1; i < count; i++) tree.parent[i] = parent += data.nodes.parent[i];
  data.hidden.node.forEach((node, i) => { tree.hidden[node] = data.hidden.value[i]; tree.total[node] += data.hidden.value[i]; });
  for (let i = count - 1; i >= 0; i--) if (tree.parent[i] >= 0) tree.total[tree.parent[i]] += tree.total[i];
  const next = new Float64Array(count);
  let rootNext = 0;
  for (let i = 0; i < count; i++) {
    const parent = tree.parent[i];
    if (parent < 0) {
      tree.offset[i] = rootNext;
      rootNext += tree.total[i];
    } else {
      tree.offset[i] = tree.offset[parent] + next[parent];
      next[parent] += tree.total[i];
      tree.depth[i] = tree.depth[parent] + 1;
    }
  }
  data.levels.forEach((size) => tree.levelStart.push(tree.levelStart[tree.levelStart.length - 1] + size));
  return tree;
}

// The first node of a level that ends after `value`, or the level's end.
function firstAfter(tree, level, value) {
  let low = tree.levelStart[level];
  let high = tree.levelStart[level + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tree.offset[middle] + tree.total[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

// The node at a value of a level, or -1.
function nodeAt(tree, level, value) {
  if (level < 0 || level >= tree.levelStart.length - 1) return -1;
  const node = firstAfter(tree, level, value);
  return node < tree.levelStart[level + 1] && tree.offset[node] <= value ? node : -1;
}

// The range of values that a zoomed node spans; -1 is the whole.
function rangeOf(tree, node) {
  return node < 0 ? [0, tree.value] : [tree.offset[node], tree.offset[node] + tree.total[node]];
}

// The deepest level that has a node within a node's range.
function deepestBelow(tree, node) {
  const [start, end] = rangeOf(tree, node);
  let level = node < 0 ? 0 : tree.depth[node];
  while (level < tree.levelStart.length - 2) {
    const first = firstAfter(tree, level + 1, start);
    if (first >= tree.levelStart[level + 2] || tree.offset[first] >= end) break;
    level++;
  }
  return level;
}

function isWithin(tree, node, ancestor) {
  if (ancestor < 0) return true;
  const [start, end] = rangeOf(tree, ancestor);
  return tree.depth[node] >= tree.depth[ancestor] && tree.offset[node] >= start && tree.offset[node] < end;
}

// A pattern as a test of names: a regular expression, ignoring case unless it has capitals; plain text when it is none.
function compilePattern(text) {
  const flags = /[A-Z]/.test(text) ? "" : "i";
  try {
    return { regex: new RegExp(text, flags), bad: false };
  } catch {
    return { regex: new RegExp(text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"), flags), bad: true };
  }
}

// The value within a range that lies in or below nodes whose symbol matched, each value once.
function matchedValue(tree, matches, zoom) {
  const [start, end] = rangeOf(tree, zoom);
  const covered = new Uint8Array(tree.count);
  let sum = 0;
  for (let i = 0; i < tree.count; i++) {
    const parent = tree.parent[i];
    if (parent >= 0 && covered[parent]) covered[i] = 1;
    else if (matches[tree.symbol[i]]) {
      covered[i] = 1;
      sum += Math.max(0, Math.min(end, tree.offset[i] + tree.total[i]) - Math.max(start, tree.offset[i]));
    }
  }
  return sum;
}

const THOUSANDS = new Intl.NumberFormat("en-US");

function scaled(value, scales) {
  for (const [scale, name] of scales) {
    if (Math.abs(value) < scale) continue;
    const number = value / scale;
    const digits = scale === 1 || Math.abs(number) >= 100 ? 0 : Math.abs(number) < 10 ? 2 : 1;
    return `${number >= 1000 ? THOUSANDS.format(Math.round(number)) : number.toFixed(digits)} ${name}`;
  }
  return null;
}

function formatValue(value, unit) {
  if (unit === "ns") return scaled(value, [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]]) || `${value} ns`;
  if (unit === "byte" && Math.abs(value) >= 1024) return scaled(value, [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]);
  const many = Math.abs(value) !== 1 && /^[a-z]{4,}$/i.test(unit) && !unit.endsWith("s");
  return `${THOUSANDS.format(value)} ${unit}${many ? "s" : ""}`;
}

function formatShare(part, whole) {
  const percent = whole ? (100 * part) / whole : 0;
  return `${percent >= 1 || percent === 0 ? percent.toFixed(1) : percent.toPrecision(2)} %`;
}
