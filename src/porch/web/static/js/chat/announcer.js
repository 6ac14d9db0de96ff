/** Reads an answer out as it comes: whole sentences, at a bearable pace, never single tokens. */

import { cleanText } from "../markdown/text.js";
import { make } from "./dom.js";

const END = /[.!?…。！？؟](?=["'”’)\]*_]*(?:\s|$))|\n{2,}|。|！|？/gu;
const PAUSE_MS = 1200;
const MOST_AT_ONCE = 700;
const KEPT = 12;

/** Markdown's own signs would be read out letter by letter. */
function spoken(text) {
  return text
    .replace(/```[^\n]*\n?/g, " ")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^[\s>#|*+-]+/gm, "")
    .replace(/[*_`~|]+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

export class Announcer {
  constructor() {
    this.element = make("div", { class: "unseen", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "What the agent says" });
    this.waiting = "";
    this.timer = 0;
    this.skipped = false;
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
  }

  /** What was fed is void: a step was dropped or another conversation is shown. */
  reset() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.waiting = "";
    this.skipped = false;
  }

  #speak(all) {
    this.timer = 0;
    let end = all ? this.waiting.length : 0;
    if (!all) for (const match of this.waiting.matchAll(END)) end = match.index + match[0].length;
    const text = this.waiting.slice(0, end);
    this.waiting = this.waiting.slice(end);
    if (text.length > MOST_AT_ONCE) {
      // Faster than anyone can listen: say so once and leave the rest to reading.
      if (!this.skipped) this.announce(`${spoken(text.slice(0, MOST_AT_ONCE))} … The answer is long; the rest stands in the conversation.`);
      this.skipped = true;
    } else if (!this.skipped) {
      const words = spoken(text);
      if (words) this.announce(words);
    }
    if (this.waiting && !all) this.timer = setTimeout(() => this.#speak(false), PAUSE_MS);
  }
}
