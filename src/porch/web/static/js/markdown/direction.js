/** Which way a text runs, by the first letter in it. */

const FIRST_WORDS = 500;
const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;

/** @param {string} letter */
export function runsLeft(letter) {
  return RIGHT_TO_LEFT.test(letter);
}

/** Written out by us: with `auto` the browser would look through all of it again at every change. */
export function direct(node, text) {
  const letter = /\p{L}/u.exec(text.slice(0, FIRST_WORDS))?.[0];
  const dir = letter ? (runsLeft(letter) ? "rtl" : "ltr") : "";
  // Even the same direction, set again, would have the style of all that stands in it looked up again.
  if (node.dir === dir) return;
  if (dir) node.dir = dir;
  else node.removeAttribute("dir");
}
