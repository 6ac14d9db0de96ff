/**
 * A long paragraph while it grows: what stands above its last lines is put into stretches that are laid out once.
 *
 * They end where a line ends on the screen, so it looks as one paragraph; when it is complete it is one again.
 */
import { runsLeft } from "./direction.js";

const MOST_NODES = 200;
const MOST_LINES = 12;
const LAST_LETTER = /(\p{L})\p{M}*[^\p{L}\p{N}]*$/u;
const FIRST_LETTER = /^[^\p{L}\p{N}]*(\p{L})/u;
const ENDS_IN_LETTER = /\p{L}\p{M}*\s*$/u;
const BEGINS_IN_LETTER = /^\s*\p{L}/u;
const NEARBY = 40;
// One space or none.
const ENDS = /(?:^|\S) ?$/;

/**
 * Put what does not change any more, up to an end of a line, into one more stretch.
 * @param {HTMLElement} slot
 * @param {Node|null} growing where what may still change begins
 */
export function holdLines(slot, growing) {
  const last = slot.querySelector(":scope > .stretch:last-of-type");
  const end = lineEnd(slot, last, growing ? growing.previousSibling : slot.lastChild);
  if (!end) return;
  const after = end.node.splitText(end.offset);
  const stretch = span("stretch");
  if (last) last.after(stretch);
  else slot.prepend(stretch);
  const range = document.createRange();
  range.setStartAfter(stretch);
  range.setEndBefore(after);
  stretch.append(range.extractContents());
  if (!end.node.data.endsWith(" ")) return;
  // The space at the end of a line is not seen, but copied.
  const space = end.node.splitText(end.node.length - 1);
  const hanging = span("hanging");
  space.replaceWith(hanging);
  hanging.append(space);
}

/** One paragraph again; what is selected stays selected. Answers that there are none (false). @param {HTMLElement} slot */
export function releaseLines(slot) {
  const root = /** @type {any} */ (slot.getRootNode());
  const selection = root.getSelection?.() ?? null;
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection ?? {};
  const moves = slot.contains(anchorNode ?? null) || slot.contains(focusNode ?? null);
  for (const part of slot.querySelectorAll(":scope > .stretch, :scope > .stretch > .hanging")) part.replaceWith(...part.childNodes);
  if (moves && anchorNode.isConnected && focusNode.isConnected) selection.setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
  return false;
}

/** The last end of a line between two nodes at which the text may be parted, null for none. */
function lineEnd(slot, from, node) {
  const rtl = slot.dir === "rtl";
  let lines = MOST_LINES;
  for (let nodes = MOST_NODES; node && node !== from && nodes && lines > 0; node = node.previousSibling, nodes -= 1) {
    if (!(node instanceof Text)) continue;
    const tops = topsOf(node, 0);
    if (!beginsLine(node, tops.at(-1))) tops.pop();
    for (const top of tops.slice(0, lines)) {
      const offset = lineStart(node, top);
      if (ENDS.test(node.data.slice(0, offset)) && parts(node, offset, rtl)) return { node, offset };
    }
    lines -= tops.length;
  }
  return null;
}

/** Where the lines that a text stands on are, the last one first. */
function topsOf(node, offset) {
  const range = document.createRange();
  range.setStart(node, offset);
  range.setEnd(node, node.length);
  return [...new Set(Array.from(range.getClientRects(), (rect) => rect.top))].sort((a, b) => b - a);
}

function beginsLine(node, top) {
  const before = node.previousSibling;
  if (!before) return false;
  const range = document.createRange();
  range.selectNode(before);
  return Array.from(range.getClientRects()).every((rect) => rect.bottom <= top);
}

/** The offset at which the line at `top` begins, behind the space that ends the line above it. */
function lineStart(node, top) {
  let low = 0;
  let high = node.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((topsOf(node, middle).at(-1) ?? top) >= top) high = middle;
    else low = middle + 1;
  }
  while (/\s/.test(node.data[low] ?? "")) low += 1;
  return low;
}

/** Text is parted between letters; signs take their direction from both sides, so those beside must run its own way. */
function parts(node, offset, rtl) {
  const before = ((node.previousSibling?.textContent ?? "") + node.data.slice(0, offset)).slice(-NEARBY);
  const after = (node.data.slice(offset) + (node.nextSibling?.textContent ?? "")).slice(0, NEARBY);
  if (ENDS_IN_LETTER.test(before) && BEGINS_IN_LETTER.test(after)) return true;
  const letters = [LAST_LETTER.exec(before), FIRST_LETTER.exec(after)];
  return letters.every((found) => found && runsLeft(found[1]) === rtl);
}

function span(name) {
  const made = document.createElement("span");
  made.className = name;
  return made;
}
