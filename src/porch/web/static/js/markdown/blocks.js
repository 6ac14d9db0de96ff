/**
 * Markdown's blocks, line by line: CommonMark's and GFM's, without HTML, reference definitions and laziness in tables.
 *
 * A line is looked at once, so the work is linear in the text; nesting is capped. The last, unfinished line is
 * tried (`line`) and taken back (`restore`) until it is complete.
 */

const MAX_OPEN = 40;
const QUOTE = /^ {0,3}> ?/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const FENCE = /^( {0,3})(`{3,}|~{3,})([^\n]*)$/;
const MATH = /^ {0,3}(\$\$|\\\[)[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
// Three at least, so that a dash on its way to becoming a list makes no heading for a moment.
const UNDERLINE = /^ {0,3}(={3,}|-{3,})[ \t]*$/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])([ \t]+|$)/;
const DELIMITER_ROW = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MAX_COLUMNS = 64;
const VERBATIM = new Set(["code", "indented", "math"]);

/**
 * @typedef {{type: string, text: string, children: Block[], closed: boolean, level: number, start: number,
 *   marker: string, indent: number, loose: boolean, blank: boolean, first: boolean, info: string, aligns: string[],
 *   view: any}} Block
 *   `text` is a paragraph's lines, a code's content, a table's header or a row.
 */

/** @returns {Block} */
function block(type, more = {}) {
  const empty = { text: "", closed: false, level: 0, start: 1, marker: "", indent: 0, loose: false, blank: false, first: false, info: "", aligns: [] };
  return { type, children: [], view: null, ...empty, ...more };
}

export class BlockParser {
  root = block("root");
  /** The leaf that the last line went into. */
  tail = /** @type {Block|null} */ (null);
  #open = [this.root];

  /** Take in one line, without its line feed. @param {string} text */
  line(text) {
    let rest = this.#verbatim ? text : expanded(text);
    let depth = 1;
    for (; depth < this.#open.length; depth += 1) {
      const next = continued(this.#open[depth], rest);
      if (next === null) break;
      rest = next;
    }
    const tip = this.#tip;
    if (depth === this.#open.length && VERBATIM.has(tip.type)) this.#addVerbatim(tip, rest);
    else if (isBlank(rest)) this.#addBlank(depth);
    else this.#addText(depth, rest);
  }

  /** Everything is said. */
  finish() {
    this.#closeTo(1);
    this.root.closed = true;
    this.tail = null;
  }

  /** How things stand, for `restore`. */
  save() {
    const open = [...this.#open];
    return { open, tail: this.tail, copies: open.map((each) => ({ ...each })), counts: open.map((each) => each.children.length) };
  }

  /** Take back every line since `save`. @param {ReturnType<BlockParser["save"]>} saved */
  restore(saved) {
    saved.open.forEach((each, index) => {
      const { view, children } = each;
      Object.assign(each, saved.copies[index], { view, children });
      children.length = saved.counts[index];
    });
    this.#open = [...saved.open];
    this.tail = saved.tail;
  }

  /** Whether the open block is code: what comes next is no Markdown. */
  get #verbatim() {
    return this.#open.length === 2 && (this.#tip.type === "code" || this.#tip.type === "math");
  }

  get #tip() {
    return this.#open[this.#open.length - 1];
  }

  #addVerbatim(tip, rest) {
    this.tail = tip;
    if (tip.type !== "indented" && ends(tip, rest)) {
      this.#closeTo(this.#open.length - 1);
      return;
    }
    tip.text += `${tip.type === "indented" ? rest : outdented(rest, tip.indent)}\n`;
  }

  #addBlank(depth) {
    this.#closeTo(depth);
    for (const each of this.#open) each.blank = true;
  }

  #addText(matched, text) {
    let depth = matched;
    const tip = this.#tip;
    const lazy = tip.type === "paragraph" && depth < this.#open.length;
    let paragraph = depth === this.#open.length && tip.type === "paragraph" ? tip : null;
    let rest = text;
    let began = false;
    const row = depth === this.#open.length && tip.type === "table";
    if (paragraph || row) depth -= 1;
    for (;;) {
      const container = this.#container(depth, rest, paragraph);
      if (!container) break;
      ({ depth, rest } = container);
      began = true;
      paragraph = null;
      if (isBlank(rest)) return this.#settled();
    }
    if (this.#beginLeaf(depth, rest, paragraph, lazy && !began)) return this.#settled();
    if (paragraph || (lazy && !began)) {
      tip.text += `\n${rest.trimStart()}`;
      this.tail = tip;
    } else if (row && !began) {
      this.#push(block("row", { text: rest, closed: true, aligns: tip.aligns }), this.#open.length);
      this.#open.pop();
    } else {
      this.#push(block("paragraph", { text: rest.trimStart() }), depth);
    }
    this.#settled();
  }

  /** A quote or list item that begins here, and what stands in it; null for none. */
  #container(depth, rest, paragraph) {
    if (depth >= MAX_OPEN - 2) return null;
    const quote = QUOTE.exec(rest);
    if (quote) {
      this.#push(block("quote"), depth);
      return { depth: this.#open.length, rest: rest.slice(quote[0].length) };
    }
    const item = RULE.test(rest) || (paragraph && UNDERLINE.test(rest)) ? null : ITEM.exec(rest);
    if (!item) return null;
    const [whole, before, marker, number, space] = item;
    const empty = isBlank(rest.slice(whole.length));
    if (paragraph && (empty || (number && number !== "1"))) return null;
    const width = empty || space.length > 4 ? 1 : space.length;
    const indent = before.length + marker.length + width;
    this.#pushItem(block("item", { indent }), marker.slice(-1), Number(number ?? 1), depth);
    return { depth: this.#open.length, rest: rest.slice(indent) };
  }

  #pushItem(item, marker, start, depth) {
    let at = depth;
    if (this.#open[at - 1].type === "list" && this.#open[at - 1].marker !== marker) at -= 1;
    if (this.#open[at - 1].type !== "list") {
      this.#push(block("list", { marker, start }), at);
      at += 1;
    }
    const list = this.#open[at - 1];
    if (list.blank && list.children.length) list.loose = true;
    this.#push(item, at);
  }

  /** Everything else that begins with this line: heading, code, rule, table; false for plain text. */
  #beginLeaf(depth, rest, paragraph, lazy) {
    if (indentOf(rest) >= 4) {
      if (paragraph || lazy || this.#tip.type === "table") return false;
      this.#push(block("indented", { text: `${rest.slice(4)}\n` }), depth);
      return true;
    }
    const found = leafOf(rest);
    if (paragraph && this.#retype(paragraph, rest)) return true;
    if (!found) return false;
    this.#push(found, depth);
    if (found.closed) this.#open.pop();
    return true;
  }

  /** A paragraph whose last line turns out to be a heading's or a table's. */
  #retype(paragraph, rest) {
    const underline = UNDERLINE.exec(rest);
    if (underline) {
      Object.assign(paragraph, { type: "heading", level: underline[1][0] === "=" ? 1 : 2 });
      this.#closeTo(this.#open.length - 1);
      return true;
    }
    if (!rest.includes("|") && !rest.includes(":")) return false;
    const cut = paragraph.text.lastIndexOf("\n") + 1;
    const header = paragraph.text.slice(cut);
    if (!header.includes("|") || !DELIMITER_ROW.test(rest)) return false;
    const aligns = splitRow(rest).map(alignment);
    if (aligns.length > MAX_COLUMNS || splitRow(header).length !== aligns.length) return false;
    if (cut === 0) {
      Object.assign(paragraph, { type: "table", text: header, aligns });
    } else {
      paragraph.text = paragraph.text.slice(0, cut - 1);
      this.#push(block("table", { text: header, aligns }), this.#open.length - 1);
    }
    this.tail = this.#tip;
    return true;
  }

  #push(child, depth) {
    const at = child.type !== "item" && this.#open[depth - 1].type === "list" ? depth - 1 : depth;
    this.#closeTo(at);
    const parent = this.#tip;
    if (parent.type === "item" && parent.children.length && parent.blank) this.#open[at - 2].loose = true;
    child.first = parent.type === "item" && !parent.children.length;
    parent.children.push(child);
    this.#open.push(child);
    this.tail = child;
  }

  #closeTo(depth) {
    for (let index = depth; index < this.#open.length; index += 1) this.#open[index].closed = true;
    this.#open.length = Math.min(this.#open.length, depth);
  }

  #settled() {
    for (const each of this.#open) each.blank = false;
  }
}

/** The line behind an open block's own marker; null where the line does not belong to it. */
function continued(open, rest) {
  switch (open.type) {
    case "quote": {
      const marker = QUOTE.exec(rest);
      return marker ? rest.slice(marker[0].length) : null;
    }
    case "item":
      if (isBlank(rest)) return open.children.length ? rest : null;
      return indentOf(rest) >= open.indent ? rest.slice(open.indent) : null;
    case "indented":
      if (isBlank(rest)) return rest.slice(4);
      return indentOf(rest) >= 4 ? rest.slice(4) : null;
    case "paragraph":
    case "table":
      return isBlank(rest) ? null : rest;
    default:
      return rest;
  }
}

function leafOf(rest) {
  const heading = HEADING.exec(rest);
  if (heading) {
    const text = rest.slice(heading[0].length).trimEnd().replace(/(?:^|[ \t])#+$/, "");
    return block("heading", { level: heading[1].length, text, closed: true });
  }
  const fence = FENCE.exec(rest);
  if (fence && !(fence[2][0] === "`" && fence[3].includes("`"))) {
    return block("code", { indent: fence[1].length, marker: fence[2], info: fence[3].trim() });
  }
  const math = MATH.exec(rest);
  if (math) return block("math", { marker: math[1] });
  return RULE.test(rest) ? block("rule", { closed: true }) : null;
}

function ends(open, rest) {
  const line = rest.trim();
  if (open.type === "math") return line === (open.marker === "$$" ? "$$" : "\\]");
  return indentOf(rest) < 4 && line.length >= open.marker.length && line === open.marker[0].repeat(line.length);
}

/**
 * A table row's cells; a pipe behind a backslash or in a code span's backslash form is text.
 * @param {string} row
 * @returns {string[]}
 */
export function splitRow(row) {
  const text = row.trim();
  const cells = [];
  let cell = "";
  for (let index = text[0] === "|" ? 1 : 0; index < text.length; index += 1) {
    if (text[index] === "\\" && index + 1 < text.length) {
      cell += text[index + 1] === "|" ? "|" : text.slice(index, index + 2);
      index += 1;
    } else if (text[index] === "|") {
      cells.push(cell.trim());
      cell = "";
    } else {
      cell += text[index];
    }
  }
  if (cell.trim()) cells.push(cell.trim());
  return cells;
}

function alignment(cell) {
  const ends = `${cell.startsWith(":") ? ":" : ""}-${cell.endsWith(":") ? ":" : ""}`;
  return { ":-": "start", "-:": "end", ":-:": "center" }[ends] ?? "";
}

function isBlank(text) {
  return !/[^ \t]/.test(text);
}

function indentOf(text) {
  let indent = 0;
  while (text[indent] === " ") indent += 1;
  return indent;
}

function outdented(text, by) {
  return text.slice(Math.min(indentOf(text), by));
}

/** Tabs before the first word as spaces to the next fourth column. */
function expanded(text) {
  if (!text.includes("\t")) return text;
  let column = 0;
  let result = "";
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === "\t") {
      const width = 4 - (column % 4);
      result += " ".repeat(width);
      column += width;
    } else if (/[ >*+\-.)\d]/.test(text[index])) {
      result += text[index];
      column += 1;
    } else {
      return result + text.slice(index);
    }
  }
  return result;
}
