/**
 * Groups of blocks in a long answer: each is laid out and painted by itself, and not at all while it is out of sight.
 *
 * Short answers have none. Which group a block goes into is decided by what stands before it alone.
 */

const SIZE = 8192;
// What a block costs beyond its text, in characters.
const OVERHEAD = 64;
// Their margins differ from those of other blocks: no group begins at them.
const APART = new Set(["heading", "rule"]);

/** @typedef {import("./blocks.js").Block} Block @typedef {import("./render.js").View} View */

/**
 * The element that a block of the root stands in.
 * @param {View} view the root's
 * @param {Block} container
 * @param {number} index
 * @returns {Element}
 */
export function groupFor(view, container, index) {
  const item = view.items[index];
  const before = container.children[index - 1];
  const previous = view.items[index - 1];
  item.before = before ? previous.before + (previous.weight ?? weigh(before)) : 0;
  const begins = item.before >= SIZE && !APART.has(container.children[index].type) && before.type !== "rule";
  if (!begins) {
    leaveGroup(item);
    return /** @type {Element} */ (before ? previous.node.parentNode : view.slot);
  }
  item.before = 0;
  if (!item.group) {
    item.group = document.createElement("div");
    // Its blocks stand as they would without it.
    item.group.className = "prose group";
  }
  if (item.group.parentNode !== view.slot) view.slot.append(item.group);
  return item.group;
}

/** A block that is gone, or begins its group no more. @param {View} item */
export function leaveGroup(item) {
  if (item.group) item.group.replaceWith(...item.group.childNodes);
  item.group = null;
}

/** @param {Block} block @returns {number} */
export function weigh({ text, children }) {
  return children.reduce((sum, child) => sum + weigh(child), text.length + OVERHEAD);
}
