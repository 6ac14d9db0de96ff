/** Reads an answer out as it comes: whole sentences, at a bearable pace, never single tokens. */

import { MarkdownView } from "../markdown/markdown.js";
import { cleanText } from "../markdown/text.js";
import { make } from "./dom.js";

const END = /[.!?…。！？؟](?=["'”’)\]*_]*(?:\s|$))|\n{2,}|。|！|？/gu;
const PAUSE_MS = 1200;
const MOST_AT_ONCE = 700;
const KEPT = 12;

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const WITHIN_LINE = new Set(["a", "code", "del", "em", "span", "strong"]);

/** The words of a text as they are shown, without the marks of its Markdown; `inLine` where it begins no line. */
function spoken(text, inLine = false) {
  const shown = document.createElement("div");
  // A word before it keeps what is no line's beginning from being taken for a list or a heading.
  new MarkdownView(shown).set(inLine ? `x ${text}` : text);
  return words(shown).replace(/\s+/g, " ").trim().slice(inLine ? 1 : 0).trim();
}

function words(node) {
  if (node instanceof Text) return node.data;
  if (node.matches(".code-head")) return " ";
  const inner = Array.from(node.childNodes, words).join("");
  if (WITHIN_LINE.has(node.localName)) return inner;
  const list = node.localName === "li" && node.parentElement.localName === "ol" ? node.parentElement : null;
  return list ? ` ${list.start + [...list.children].indexOf(node)}. ${inner} ` : ` ${inner} `;
}

/** The fence that opens the code which a text ends in, "" where it ends in none; `open` is the one it begins in. */
function fenceAfter(text, open) {
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line)?.[1] ?? "";
    if (!open) open = mark;
    else if (mark.startsWith(open) && line.trim() === mark) open = "";
  }
  return open;
}

/** Whether no emphasis, code or link of the last paragraph is cut in two by the text's end. */
function isWhole(text) {
  const last = text.slice(text.trimEnd().lastIndexOf("\n\n") + 1);
  const even = (mark) => (last.match(mark)?.length ?? 0) % 2 === 0;
  return even(/\*\*/g) && even(/`/g) && !/\[[^\]]*$|\]\([^)]*$/.test(last);
}

export class Announcer {
  constructor() {
    this.element = make("div", { class: "unseen", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "What the agent says" });
    this.waiting = "";
    this.timer = 0;
    this.skipped = false;
    this.parts = new Set(); // those whose words are read out
    this.#begin();
  }

  /** What happens in a run: its words as they come, and what is told besides them. */
  hear(event) {
    if (event.type === "stream.chunk") {
      if (this.parts.has(event.part)) this.feed(event.delta);
    } else if (event.type === "part.started") {
      if (event.kind === "reasoning") this.announce("Thinking.");
      else this.parts.add(event.part);
    } else if (event.type === "tool_call.started") this.announce(`Using the tool ${event.name}.`);
    else if (event.type === "stream.resync" || event.type === "step.discarded") this.reset();
  }

  /** Something that is whole by itself: a state, a notice. */
  announce(sentence) {
    this.element.append(make("p", {}, cleanText(sentence)));
    while (this.element.childElementCount > KEPT) this.element.firstElementChild.remove();
  }

  /** More of an answer; what makes whole sentences is read out after a pause. */
  feed(delta) {
    this.waiting += delta;
    this.timer ||= setTimeout(() => this.#speak(false), PAUSE_MS);
  }

  /** The answer is complete: whatever is left is read out. */
  finish() {
    clearTimeout(this.timer);
    this.#speak(true);
    this.skipped = false;
    this.#begin();
  }

  /** What was fed is void: a step was dropped or another conversation is shown. */
  reset() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.waiting = "";
    this.skipped = false;
    this.#begin();
  }

  #begin() {
    this.fence = ""; // what opens the code that is being said
    this.inLine = false; // whether what comes next goes on a line
  }

  /** Where the last sentence ends that can be said by itself; in code, where its last line does. */
  #sentencesEnd() {
    const ends = Array.from(this.waiting.matchAll(END), (match) => match.index + match[0].length);
    if (this.waiting.length > MOST_AT_ONCE) return ends.at(-1) ?? 0;
    return ends.findLast((end) => fenceAfter(this.waiting.slice(0, end), this.fence) || isWhole(this.waiting.slice(0, end))) ?? 0;
  }

  #speak(all) {
    this.timer = 0;
    const end = all ? this.waiting.length : this.#sentencesEnd();
    const piece = this.waiting.slice(0, end);
    const text = (this.fence ? `${this.fence}\n` : "") + piece;
    const inLine = this.inLine && !this.fence && !/^\s*\n/.test(piece);
    this.fence = fenceAfter(piece, this.fence);
    this.inLine = piece ? !piece.endsWith("\n") : this.inLine;
    this.waiting = this.waiting.slice(end);
    if (text.length > MOST_AT_ONCE) {
      // Faster than anyone can listen: say so once and leave the rest to reading.
      if (!this.skipped) this.announce(`${spoken(text.slice(0, MOST_AT_ONCE), inLine)} … The answer is long; the rest stands in the conversation.`);
      this.skipped = true;
    } else if (!this.skipped) {
      const said = spoken(text, inLine);
      if (said) this.announce(said);
    }
    if (this.waiting && !all) this.timer = setTimeout(() => this.#speak(false), PAUSE_MS);
  }
}
