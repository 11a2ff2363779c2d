// Draws the part of the picture that is in sight on a canvas as large as the scrolling area.

const ROW = 20;
const PADDING = 5;
const FONT = '12px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

class Painter {
  constructor(tree, data, canvas, scroller, stage) {
    Object.assign(this, { tree, data, canvas, scroller, stage, context: canvas.getContext("2d") });
    this.context.font = FONT;
    this.widths = new Map();
  }

  // Row 0 is the whole; level `d` of the tree is row `d + 1`. `top` is measured from the stage's upper edge.
  topOf(row, state) {
    return state.icicle ? row * ROW : this.stageHeight - (row + 1) * ROW;
  }

  layOut(state) {
    this.rows = deepestBelow(this.tree, state.zoom) + 2;
    this.width = this.scroller.clientWidth;
    this.height = this.scroller.clientHeight;
    this.stageHeight = Math.max(this.rows * ROW + 2, this.height);
    this.stage.style.height = `${this.stageHeight}px`;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  draw(state) {
    const { context, tree } = this;
    const style = getComputedStyle(document.documentElement);
    this.colours = { ink: style.getPropertyValue("--ink"), page: style.getPropertyValue("--page"), match: style.getPropertyValue("--match"), accent: style.getPropertyValue("--accent"), field: style.getPropertyValue("--field") };
    this.shades = this.data.palette[state.theme];
    const [start, end] = rangeOf(tree, state.zoom);
    this.view = { start, scale: this.width / (end - start || 1) };
    context.clearRect(0, 0, this.width, this.height);
    context.font = FONT;
    context.textBaseline = "middle";
    const scrolled = this.scroller.scrollTop;
    // While a resize is not laid out yet, the browser may have scrolled to fit the new size.
    if (this.scroller.clientHeight === this.height) this.bottom = scrolled + this.height;
    this.box(0, this.topOf(0, state) - scrolled, this.width, this.colours.field, `all: ${formatValue(tree.value, tree.unit)}`, 1);
    for (let level = 0; level < this.rows - 1; level++) {
      const top = this.topOf(level + 1, state) - scrolled;
      if (top > -ROW && top < this.height) this.drawLevel(level, top, start, end, state);
    }
    this.outline(state.selected, state, scrolled, 2);
    if (state.hovered !== state.selected) this.outline(state.hovered, state, scrolled, 1);
  }

  drawLevel(level, top, start, end, state) {
    const { tree, view } = this;
    const columns = tree.symbols;
    const last = tree.levelStart[level + 1];
    const isAbove = state.zoom >= 0 && level < tree.depth[state.zoom];
    let painted = -1;
    for (let node = firstAfter(tree, level, start); node < last && tree.offset[node] < end; node++) {
      const from = Math.max(0, (tree.offset[node] - view.start) * view.scale);
      const to = Math.min(this.width, (tree.offset[node] + tree.total[node] - view.start) * view.scale);
      // Frames narrower than a pixel share one: each pixel column is painted once, however many frames it holds.
      if (to - from < 1 && Math.floor(from) <= painted) continue;
      painted = Math.floor(Math.max(to, from + 1)) - 1;
      const symbol = tree.symbol[node];
      const isMatch = state.matches && state.matches[symbol];
      const colour = isMatch ? this.colours.match : this.shades[columns.family[symbol]][columns.shade[symbol]];
      const strength = isAbove ? 0.55 : state.matches && !isMatch ? 0.45 : 1;
      this.box(from, top, Math.max(to - from, 1), colour, columns.name[symbol], strength, isMatch);
    }
  }

  box(left, top, width, colour, text, strength, isMatch) {
    const { context } = this;
    context.globalAlpha = strength;
    context.fillStyle = colour;
    context.fillRect(left, top, width > 3 ? width - 0.75 : width, ROW - 1);
    context.globalAlpha = 1;
    if (width < 22) return;
    const shown = this.fit(text, width - 2 * PADDING);
    if (!shown) return;
    context.fillStyle = isMatch ? this.colours.page : this.colours.ink;
    context.fillText(shown, left + PADDING, top + ROW / 2);
  }

  outline(node, state, scrolled, thickness) {
    if (node === null || (node >= 0 && !isWithin(this.tree, node, state.zoom) && !isWithin(this.tree, state.zoom, node))) return;
    const [start, end] = rangeOf(this.tree, node);
    const left = Math.max(0, (start - this.view.start) * this.view.scale);
    const right = Math.min(this.width, (end - this.view.start) * this.view.scale);
    const top = this.topOf(node < 0 ? 0 : this.tree.depth[node] + 1, state) - scrolled;
    this.context.strokeStyle = this.colours.ink;
    this.context.lineWidth = thickness;
    this.context.strokeRect(left + thickness / 2, top + thickness / 2, Math.max(right - left - thickness - 0.75, 1), ROW - 1 - thickness);
  }

  // The text, or as much of it as the width holds with an ellipsis; empty when not even three letters fit.
  fit(text, width) {
    const ellipsis = this.widthOf("…");
    let used = 0;
    let kept = 0;
    let index = 0;
    for (const character of text) {
      used += this.widthOf(character);
      if (used > width) return kept >= 3 ? `${text.slice(0, kept)}…` : "";
      index += character.length;
      if (used + ellipsis <= width) kept = index;
    }
    return text;
  }

  widthOf(character) {
    let width = this.widths.get(character);
    if (width === undefined) this.widths.set(character, (width = this.context.measureText(character).width));
    return width;
  }

  // The node under a point of the window: -1 for the whole, null for none.
  hit(clientX, clientY, state) {
    const bounds = this.canvas.getBoundingClientRect();
    const y = clientY - bounds.top + this.scroller.scrollTop;
    const row = Math.floor((state.icicle ? y : this.stageHeight - y) / ROW);
    if (row === 0) return -1;
    const node = row > 0 && row < this.rows ? nodeAt(this.tree, row - 1, this.view.start + (clientX - bounds.left) / this.view.scale) : -1;
    return node < 0 ? null : node;
  }

  scrollTo(node, state) {
    const top = this.topOf(node < 0 ? 0 : this.tree.depth[node] + 1, state);
    const { scrollTop } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top - ROW;
    else if (top + ROW > scrollTop + this.height) this.scroller.scrollTop = top + 2 * ROW - this.height;
  }
}
