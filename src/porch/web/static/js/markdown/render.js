/** Blocks as elements, changed only where the blocks have changed. */
import { splitRow } from "./blocks.js";
import { codeBlock, growCode } from "./code.js";
import { direct } from "./direction.js";
import { groupFor, leaveGroup, weigh } from "./groups.js";
import { renderInline } from "./inline.js";
import { holdLines, releaseLines } from "./stretches.js";

// Longer text is cut into pieces that know nothing of each other: one line of a megabyte costs what its end costs.
const PIECE = 4096;
const WORD_END = 512;
const VERBATIM = new Set(["code", "indented", "math"]);
const TASK = /^\[([ xX])\][ \n]/;
// An answer stands below the page's own headings.
const HEADING_SHIFT = 2;

// Reading an element's width would have the page laid out once more.
let resized = 0;
window.addEventListener("resize", () => (resized += 1));

/**
 * @typedef {import("./blocks.js").Block} Block
 * @typedef {{key: string, node: Element, slot: Element, items: View[], settled: number, text: string|null,
 *   open: boolean, pieces: {text: string, open: boolean, nodes: ChildNode[]}[], held: number, stretched: boolean,
 *   resized: number, group: Element|null, before: number, weight: number|null}} View
 *   `held` counts the pieces that were parted into stretches, at the window's size then; the last three are of groups.js.
 */

/** @returns {View} */
export function createView(key, node, slot = node) {
  return { key, node, slot, items: [], settled: 0, text: null, open: false, pieces: [], held: 0, stretched: false, resized: 0, group: null, before: 0, weight: null };
}

/**
 * Make a container's elements what its blocks are. `settle` says that closed blocks will not change any more.
 * @param {View} view
 * @param {Block} container
 * @param {Block|null} tail the leaf that may still grow
 * @param {boolean} settle
 */
export function renderChildren(view, container, tail, settle) {
  const { slot, items } = view;
  const { children } = container;
  for (let index = view.settled; index < children.length; index += 1) {
    const child = children[index];
    const key = keyOf(child);
    if (items[index]?.key !== key) {
      const made = build(key, child);
      if (items[index]) {
        items[index].node.replaceWith(made.node);
        made.group = items[index].group;
      }
      items[index] = made;
    }
    const place = view.key === "root" ? groupFor(view, container, index) : slot;
    if (items[index].node.parentNode !== place) place.append(items[index].node);
    renderBlock(items[index], child, tail, settle);
    if (settle && child.closed && index === view.settled) {
      view.settled += 1;
      items[index].weight = weigh(child);
    }
  }
  while (items.length > children.length) {
    const gone = /** @type {View} */ (items.pop());
    gone.node.remove();
    leaveGroup(gone);
  }
}

function renderBlock(view, child, tail, settle) {
  const open = child === tail;
  switch (child.type) {
    case "paragraph": return renderParagraph(view, child, open);
    case "heading": return renderText(view, child.text, open);
    case "row": return renderRow(view, child, open);
    case "code": case "indented": case "math": return renderCode(view, child);
    case "rule": return undefined;
    case "list":
      if (child.loose) view.node.className = "loose";
      else view.node.removeAttribute("class");
      direct(view.node, firstWords(child));
      return renderChildren(view, child, tail, settle);
    case "quote":
      direct(view.node, firstWords(child));
      return renderChildren(view, child, tail, settle);
    default: return renderChildren(view, child, tail, settle);
  }
}

/** What an element is made for good by; all else can change while it stands. */
function keyOf({ type, level, marker, start, info, text, aligns }) {
  switch (type) {
    case "heading": return `heading ${level}`;
    case "list": return `list ${marker} ${start}`;
    case "code": return `code ${info}`;
    case "table": return `table ${aligns.join()} ${text}`;
    default: return type;
  }
}

function build(key, child) {
  switch (child.type) {
    case "heading": return createView(key, document.createElement(`h${Math.min(child.level + HEADING_SHIFT, 6)}`));
    case "list": return createView(key, list(child));
    case "item": return createView(key, document.createElement("li"));
    case "quote": return createView(key, document.createElement("blockquote"));
    case "rule": return createView(key, document.createElement("hr"));
    case "row": return createView(key, document.createElement("tr"));
    case "table": return table(key, child);
    case "code": case "indented": {
      const { node, code } = codeBlock(child.info.split(/\s/, 1)[0]);
      return createView(key, node, code);
    }
    case "math": {
      const node = document.createElement("pre");
      node.className = "math";
      node.tabIndex = 0;
      node.append(document.createElement("code"));
      return createView(key, node, /** @type {Element} */ (node.firstChild));
    }
    default: return createView(key, document.createElement("p"));
  }
}

function list({ marker, start }) {
  const ordered = marker === "." || marker === ")";
  const node = document.createElement(ordered ? "ol" : "ul");
  if (ordered && start !== 1) node.setAttribute("start", String(start));
  return node;
}

function table(key, { text, aligns }) {
  const node = document.createElement("div");
  node.className = "table-scroll";
  node.tabIndex = 0;
  node.setAttribute("role", "region");
  node.setAttribute("aria-label", "Table");
  const inner = document.createElement("table");
  inner.className = "table";
  const head = document.createElement("thead");
  const body = document.createElement("tbody");
  head.append(document.createElement("tr"));
  fillRow(/** @type {Element} */ (head.firstChild), "th", text, aligns, false);
  inner.append(head, body);
  node.append(inner);
  return createView(key, node, body);
}

function renderRow(view, { text, aligns }, open) {
  if (view.text === text && view.open === open) return;
  Object.assign(view, { text, open });
  fillRow(view.slot, "td", text, aligns, open);
}

function fillRow(row, name, text, aligns, open) {
  const cells = splitRow(text).slice(0, aligns.length);
  const nodes = aligns.map((align, index) => {
    const cell = document.createElement(name);
    direct(cell, cells[index] ?? "");
    if (name === "th") cell.setAttribute("scope", "col");
    if (align) cell.className = `align-${align}`;
    cell.append(renderInline(cells[index] ?? "", { open: open && index >= cells.length - 1, breaks: true }));
    return cell;
  });
  row.replaceChildren(...nodes);
}

function renderCode(view, { type, text }) {
  const shown = text.endsWith("\n") ? text.slice(0, -1) : text;
  growCode(view.slot, type === "indented" ? shown.replace(/\n+$/, "") : shown);
}

function renderParagraph(view, { text, first }, open) {
  const task = first ? TASK.exec(text) : null;
  if (!task) return renderText(view, text, open);
  return renderText(view, `${task[1] === " " ? "\u2610" : "\u2611"} ${text.slice(4)}`, open);
}

function renderText(view, text, open) {
  if (view.text === text && view.open === open) return;
  Object.assign(view, { text, open });
  direct(view.node, text);
  const parts = cut(text.trimEnd());
  let same = 0;
  const last = parts.length - 1;
  while (same < parts.length && view.pieces[same]?.text === parts[same] && view.pieces[same].open === (open && same === last)) same += 1;
  if (same < view.held) same = renew(view);
  else if (view.stretched && (!open || resized !== view.resized)) view.stretched = releaseLines(view.slot);
  for (const { nodes } of view.pieces.splice(same)) for (const node of nodes) node.remove();
  for (let index = same; index < parts.length; index += 1) {
    const grows = open && index === last;
    const fragment = renderInline(parts[index], { open: grows });
    view.pieces.push({ text: parts[index], open: grows, nodes: [...fragment.childNodes] });
    view.slot.append(fragment);
  }
  if (open && last && (last > view.held || !view.stretched)) {
    Object.assign(view, { held: last, stretched: true, resized });
    holdLines(view.slot, view.pieces[last].nodes[0] ?? null);
  }
}

/** What was parted into stretches and differs now is made anew as a whole. Answers how many pieces stay. */
function renew(view) {
  view.slot.replaceChildren();
  Object.assign(view, { held: 0, stretched: false, pieces: [] });
  return 0;
}

/** Text in pieces; where one ends is decided by what stands before its end alone. */
function cut(text) {
  const parts = [];
  let start = 0;
  while (text.length - start > PIECE) {
    let end = start + PIECE;
    const space = text.slice(end - WORD_END, end).lastIndexOf(" ");
    if (space >= 0) end += space + 1 - WORD_END;
    else if (isHalf(text.charCodeAt(end - 1))) end -= 1;
    parts.push(text.slice(start, end));
    start = end;
  }
  parts.push(text.slice(start));
  return parts;
}

function isHalf(code) {
  return code >= 0xd800 && code <= 0xdbff;
}

/** The text that a container begins with. */
function firstWords(container) {
  let found = container;
  while (found.children.length && found.type !== "table") [found] = found.children;
  return VERBATIM.has(found.type) ? "" : found.text;
}
