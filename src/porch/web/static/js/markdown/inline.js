/** What stands within a line of Markdown, as DOM nodes made one by one: no string is ever parsed as HTML. */
import { Emphasis } from "./emphasis.js";
import { bareAddressEnd, createLink, linkAddress, tellPlace } from "./links.js";
import { cleanText } from "./text.js";

const SPECIAL = /[\\`*_~[\]!<&$\n]|https?:\/\//gi;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));/y;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", copy: "©", reg: "®", trade: "™", times: "×", rarr: "→", larr: "←", le: "≤", ge: "≥", ne: "≠", deg: "°", euro: "€", middot: "·", bull: "•" };
const AUTOLINK = /<((?:https?:|mailto:)[^\s<>]{1,2000})>|<([\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w.-]{1,255})>/iy;
const BREAK = /<br[ \t]*\/?>/iy;
const UNFINISHED_LINK = /^\([^\s()]*$/;

/**
 * The nodes of a stretch of text. `open` says that more may come: what is begun is shown as if it were closed.
 * `breaks` lets `<br>` break a line, for tables, which know no other way.
 * @param {string} text
 * @param {{open?: boolean, breaks?: boolean}} [options]
 * @returns {DocumentFragment}
 */
export function renderInline(text, { open = false, breaks = false } = {}) {
  return new Inline(open ? withoutEnd(text, "*_~`") : text, open, breaks).render();
}

class Inline {
  #text;
  #open;
  #breaks;
  #at = 0;
  #plain = "";
  #nodes = document.createDocumentFragment();
  #emphasis = new Emphasis();
  #brackets = /** @type {{node: Text, image: boolean, bottom: any}[]} */ ([]);
  #inactive = 0;
  #fences = /** @type {Map<number, number[]>|null} */ (null);
  #absent = new Set();

  constructor(text, open, breaks) {
    this.#text = text;
    this.#open = open;
    this.#breaks = breaks;
  }

  render() {
    while (this.#at < this.#text.length) {
      SPECIAL.lastIndex = this.#at;
      const found = SPECIAL.exec(this.#text);
      this.#plain += this.#text.slice(this.#at, found ? found.index : undefined);
      if (!found) break;
      this.#at = found.index;
      this.#special(this.#text[this.#at]);
    }
    this.#flush();
    if (this.#open) this.#emphasis.closeAll(null);
    else this.#emphasis.resolve(null);
    return this.#nodes;
  }

  #special(character) {
    switch (character) {
      case "\\": return this.#escape();
      case "`": return this.#code();
      case "*": case "_": case "~": return this.#run(character);
      case "[": return this.#bracket(1);
      case "!": return this.#text[this.#at + 1] === "[" ? this.#bracket(2) : this.#say("!");
      case "]": return this.#closeBracket();
      case "<": return this.#angle();
      case "&": return this.#entity();
      case "$": return this.#dollar();
      case "\n": return this.#lineEnd();
      default: return this.#bareAddress();
    }
  }

  /** Take so much of the text as it stands. */
  #say(written, shown = written) {
    this.#plain += shown;
    this.#at += written.length;
  }

  #flush() {
    if (this.#plain) this.#nodes.append(this.#plain);
    this.#plain = "";
  }

  #add(node, end) {
    this.#flush();
    this.#nodes.append(node);
    this.#at = end;
  }

  #escape() {
    const next = this.#text[this.#at + 1] ?? "";
    if (next === "\n") return this.#add(document.createElement("br"), this.#at + 2);
    if ((next === "(" || next === "[") && this.#math(next === "(" ? "\\)" : "\\]", 2)) return undefined;
    return PUNCTUATION.test(next) ? this.#say(`\\${next}`, next) : this.#say("\\");
  }

  #code() {
    const start = this.#at;
    const width = runLength(this.#text, start);
    this.#fences ??= backticks(this.#text);
    const ends = this.#fences.get(width) ?? [];
    while (ends.length && ends[ends.length - 1] <= start) ends.pop();
    const end = ends.at(-1) ?? (this.#open && width < 3 ? this.#text.length : undefined);
    if (end === undefined || end <= start + width) return this.#say("`".repeat(width));
    let text = this.#text.slice(start + width, end).replaceAll("\n", " ");
    if (text[0] === " " && text.endsWith(" ") && text.trim()) text = text.slice(1, -1);
    return this.#add(element("code", text), Math.min(end + width, this.#text.length));
  }

  #run(character) {
    const end = this.#at + runLength(this.#text, this.#at);
    const node = document.createTextNode(character.repeat(end - this.#at));
    this.#emphasis.add(this.#text, this.#at, end, node);
    this.#add(node, end);
  }

  #bracket(width) {
    const node = document.createTextNode(width === 2 ? "![" : "[");
    this.#brackets.push({ node, image: width === 2, bottom: this.#emphasis.last });
    this.#add(node, this.#at + width);
  }

  #closeBracket() {
    const opener = this.#brackets.pop();
    const active = opener && (opener.image || this.#brackets.length >= this.#inactive);
    if (opener && this.#brackets.length < this.#inactive) this.#inactive = this.#brackets.length;
    if (!active || this.#text[this.#at + 1] !== "(") return this.#say("]");
    const target = this.#target(this.#at + 1);
    const url = target && linkAddress(target.address);
    if (!target && this.#open && UNFINISHED_LINK.test(this.#text.slice(this.#at + 1))) {
      this.#flush();
      opener.node.remove();
      this.#at = this.#text.length;
      return undefined;
    }
    if (!target || !url) return this.#say("]");
    this.#flush();
    this.#emphasis.resolve(opener.bottom);
    this.#link(opener, url);
    this.#at = target.end;
    if (!opener.image) this.#inactive = this.#brackets.length;
    return undefined;
  }

  #link(opener, url) {
    const link = createLink(url);
    opener.node.replaceWith(link);
    while (link.nextSibling) link.append(link.nextSibling);
    for (const inner of link.querySelectorAll("a")) inner.replaceWith(...inner.childNodes);
    if (!link.textContent?.trim()) link.textContent = url.href;
    if (opener.image) link.classList.add("image");
    this.#emphasis.measure(link);
    tellPlace(link, url);
  }

  /** The address in `(address "title")`, null where there is none. */
  #target(start) {
    if (this.#absentFrom(")", start)) return null;
    const text = this.#text;
    let at = skipSpace(text, start + 1);
    const begin = at;
    if (text[at] === "<") {
      while (at < text.length && !/[>\n]/.test(text[at])) at += 1;
      if (text[at] !== ">") return null;
      return this.#targetEnd(text.slice(begin + 1, at), at + 1);
    }
    let depth = 0;
    for (; at < text.length && !/\s/.test(text[at]); at += 1) {
      if (text[at] === "\\" && PUNCTUATION.test(text[at + 1] ?? "")) at += 1;
      else if (text[at] === "(" && (depth += 1) > 32) return null;
      else if (text[at] === ")" && (depth -= 1) < 0) break;
    }
    return this.#targetEnd(text.slice(begin, at).replace(/\\([!-/:-@[-`{-~])/g, "$1"), at);
  }

  #targetEnd(address, end) {
    const text = this.#text;
    let at = skipSpace(text, end);
    const quote = { '"': '"', "'": "'", "(": ")" }[text[at]];
    if (quote && at > end) {
      const close = text.indexOf(quote, at + 1);
      if (close < 0) return null;
      at = skipSpace(text, close + 1);
    }
    return text[at] === ")" ? { address, end: at + 1 } : null;
  }

  #angle() {
    AUTOLINK.lastIndex = this.#at;
    const found = AUTOLINK.exec(this.#text);
    const url = found && linkAddress(found[1] ?? `mailto:${found[2]}`);
    if (url) {
      const link = createLink(url);
      link.textContent = found[1] ?? found[2];
      return this.#add(link, AUTOLINK.lastIndex);
    }
    BREAK.lastIndex = this.#at;
    if (this.#breaks && BREAK.test(this.#text)) return this.#add(document.createElement("br"), BREAK.lastIndex);
    return this.#say("<");
  }

  #entity() {
    ENTITY.lastIndex = this.#at;
    const [whole, decimal, hex, name] = ENTITY.exec(this.#text) ?? ["&"];
    if (name) return this.#say(whole, NAMED[name] ?? whole);
    const code = decimal ? Number(decimal) : Number.parseInt(hex ?? "", 16);
    return this.#say(whole, code > 0 && code <= 0x10ffff ? cleanText(String.fromCodePoint(code)) : whole);
  }

  #dollar() {
    if (this.#text[this.#at + 1] === "$") return this.#math("$$", 2) ? undefined : this.#say("$$");
    const end = this.#text.indexOf("$", this.#at + 1);
    const inside = end < 0 ? "" : this.#text.slice(this.#at + 1, end);
    const math = inside && !/^\s|\s$|\n/.test(inside) && !/\d/.test(this.#text[end + 1] ?? "");
    return math ? this.#add(element("code", `$${inside}$`, "math"), end + 1) : this.#say("$");
  }

  /** A formula up to its end mark, as it is written; false where the mark does not come. */
  #math(mark, width) {
    const end = this.#absentFrom(mark, this.#at) ? -1 : this.#text.indexOf(mark, this.#at + width);
    if (end < 0) return false;
    this.#add(element("code", this.#text.slice(this.#at, end + mark.length), "math"), end + mark.length);
    return true;
  }

  #lineEnd() {
    const breaks = this.#plain.endsWith("  ");
    this.#plain = withoutEnd(this.#plain, " ");
    if (breaks) this.#add(document.createElement("br"), this.#at + 1);
    else this.#say("\n");
  }

  #bareAddress() {
    if (/[\p{L}\p{N}]/u.test(this.#text[this.#at - 1] ?? " ")) return this.#say(this.#text.slice(this.#at, this.#at + 4));
    const end = bareAddressEnd(this.#text, this.#at);
    const written = this.#text.slice(this.#at, end);
    const url = linkAddress(written);
    if (!url?.host) return this.#say(written);
    const link = createLink(url);
    link.textContent = written;
    tellPlace(link, url);
    return this.#add(link, end);
  }

  /** Whether a mark comes no more; looked up to the end once. */
  #absentFrom(mark, from) {
    if (!this.#absent.has(mark) && this.#text.indexOf(mark, from + 1) < 0) this.#absent.add(mark);
    return this.#absent.has(mark);
  }
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function runLength(text, start) {
  let end = start + 1;
  while (text[end] === text[start]) end += 1;
  return end - start;
}

/** Where runs of backticks begin, by their length, the first one last. */
function backticks(text) {
  const found = new Map();
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    if (!found.has(run.length)) found.set(run.length, []);
    found.get(run.length).push(index);
  }
  for (const starts of found.values()) starts.reverse();
  return found;
}

/** Without the characters at its end that are among these. A regular expression would look at each of them often. */
function withoutEnd(text, characters) {
  let end = text.length;
  while (end && characters.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

function skipSpace(text, start) {
  let at = start;
  while (at < text.length && /[ \t\n]/.test(text[at])) at += 1;
  return at;
}
