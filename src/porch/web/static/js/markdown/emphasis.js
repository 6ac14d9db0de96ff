/** Emphasis from runs of * _ ~, by the rules of CommonMark 0.31 (6.2), in linear time. */

const MAX_HEIGHT = 16;

/**
 * @typedef {{node: Text, char: string, count: number, whole: number, opens: boolean, closes: boolean,
 *   before: Run|null, after: Run|null}} Run
 */

/** The runs of one stretch of text, in order. */
export class Emphasis {
  last = /** @type {Run|null} */ (null);
  #heights = new WeakMap();

  /**
   * A run that stands at `start` in `text`.
   * @param {string} text
   * @param {number} start
   * @param {number} end
   * @param {Text} node
   */
  add(text, start, end, node) {
    const char = text[start];
    const [before, after] = [text[start - 1] ?? " ", text[end] ?? " "];
    const left = !isSpace(after) && (!isMark(after) || isSpace(before) || isMark(before) || isDense(before));
    const right = !isSpace(before) && (!isMark(before) || isSpace(after) || isMark(after) || isDense(after));
    const within = char === "_";
    const opens = left && (!within || !right || isMark(before));
    const closes = right && (!within || !left || isMark(after));
    if (!(opens || closes) || (char === "~" && end - start !== 2)) return;
    const count = end - start;
    const run = { node, char, count, whole: count, opens, closes, before: this.last, after: null };
    if (this.last) this.last.after = run;
    this.last = run;
  }

  /** Pair the runs behind `bottom` and forget them. @param {Run|null} bottom */
  resolve(bottom) {
    const lowest = new Map();
    let closer = bottom ? bottom.after : this.#first();
    while (closer) {
      if (!closer.closes) {
        closer = closer.after;
        continue;
      }
      const kind = `${closer.char}${closer.opens}${closer.whole % 3}`;
      const floor = lowest.get(kind) ?? bottom;
      let opener = closer.before;
      while (opener && opener !== bottom && opener !== floor && !matches(opener, closer)) opener = opener.before;
      if (opener && opener !== bottom && opener !== floor && this.#wrap(opener, closer)) {
        closer = closer.count ? closer : this.#drop(closer);
      } else {
        lowest.set(kind, closer.before);
        closer = closer.opens ? closer.after : this.#forget(closer);
      }
    }
    this.last = bottom;
    if (bottom) bottom.after = null;
  }

  /** What is still open as if it were closed here: an answer on its way. @param {Run|null} bottom */
  closeAll(bottom) {
    const open = [];
    for (let run = this.last; run && run !== bottom; run = run.before) open.push(run);
    this.resolve(bottom);
    for (const run of open) {
      const { node, count, char, opens } = run;
      if (!opens || count < 2 || !node.parentNode || !node.nextSibling) continue;
      const element = document.createElement(char === "~" ? "del" : "strong");
      if (!this.#raise(element, node.nextSibling, null)) continue;
      node.after(element);
      while (element.nextSibling) element.append(element.nextSibling);
      node.data = node.data.slice(2);
      if (!node.data) node.remove();
    }
  }

  /** Know how high a link is that was put around what stands here. @param {Element} link */
  measure(link) {
    this.#heights.set(link, this.#height(link.firstChild, null));
  }

  #first() {
    let run = this.last;
    while (run?.before) run = run.before;
    return run;
  }

  #wrap(opener, closer) {
    const width = closer.char === "~" || (opener.count >= 2 && closer.count >= 2) ? 2 : 1;
    const element = document.createElement(closer.char === "~" ? "del" : width === 2 ? "strong" : "em");
    if (!this.#raise(element, opener.node.nextSibling, closer.node)) return false;
    opener.node.after(element);
    while (element.nextSibling && element.nextSibling !== closer.node) element.append(element.nextSibling);
    opener.after = closer;
    closer.before = opener;
    for (const run of [opener, closer]) {
      run.count -= width;
      run.node.data = run.node.data.slice(width);
    }
    if (!opener.count) this.#drop(opener);
    if (!closer.count) closer.node.remove();
    return true;
  }

  /** Note how high the element will be; false when that is too high to draw. */
  #raise(element, from, to) {
    const height = this.#height(from, to) + 1;
    if (height <= MAX_HEIGHT) this.#heights.set(element, height);
    return height <= MAX_HEIGHT;
  }

  #height(from, to) {
    let height = 0;
    for (let node = from; node && node !== to; node = node.nextSibling) height = Math.max(height, this.#heights.get(node) ?? 0);
    return height;
  }

  #drop(run) {
    run.node.remove();
    return this.#forget(run);
  }

  #forget(run) {
    if (run.before) run.before.after = run.after;
    if (run.after) run.after.before = run.before;
    else if (this.last === run) this.last = run.before;
    return run.after;
  }
}

function matches(opener, closer) {
  if (opener.char !== closer.char || !opener.opens) return false;
  const odd = (opener.closes || closer.opens) && (opener.whole + closer.whole) % 3 === 0;
  return !odd || (opener.whole % 3 === 0 && closer.whole % 3 === 0);
}

function isSpace(character) {
  return /\s/.test(character);
}

function isMark(character) {
  return /[\p{P}\p{S}]/u.test(character);
}

/** Scripts that put no spaces between words: there emphasis begins and ends anywhere. */
function isDense(character) {
  return character >= "\u2e80" && character <= "\uffef";
}
