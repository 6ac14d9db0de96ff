/**
 * Markdown as it arrives. The elements are made one by one; no string is ever parsed as HTML, nothing is loaded, and
 * only what is open at the end is rendered again. However a text is cut into pieces, it ends as the same elements.
 */
import { BlockParser } from "./blocks.js";
import { createView, renderChildren } from "./render.js";
import { TextCleaner } from "./text.js";

export { cleanText } from "./text.js";

// A mark on its way to becoming a fence, a heading or a list says nothing yet.
const UNDECIDED = /^[ \t]*(?:[`~]{1,2}|#{1,6}|[-*+_=]{1,2}|\d{1,9}[.)]?|>|\||\[[ xX]?\]?)$/;

export class MarkdownView {
  #element;
  #parser = new BlockParser();
  #view;
  #cleaner = new TextCleaner();
  #line = "";
  #saved = /** @type {ReturnType<BlockParser["save"]>|null} */ (null);
  #source = "";
  #finished = false;

  /** @param {Element} element emptied, and filled with the text */
  constructor(element) {
    this.#element = element;
    element.replaceChildren();
    this.#view = createView("root", element);
  }

  /** All that was given, as it was given. @returns {string} */
  get source() {
    return this.#source;
  }

  /** More of the text. @param {string} delta */
  append(delta) {
    if (!delta) return;
    if (this.#finished) this.#reset(this.#source);
    this.#source += delta;
    this.#take(this.#cleaner.feed(delta));
    this.#try();
  }

  /** The text is complete: what was begun and not closed stands as it is written. */
  finish() {
    if (this.#finished) return;
    this.#finished = true;
    this.#take(this.#cleaner.finish());
    this.#untry();
    if (this.#line) this.#parser.line(this.#line);
    this.#line = "";
    this.#parser.finish();
    renderChildren(this.#view, this.#parser.root, null, true);
  }

  /** Another text, complete. @param {string} text */
  set(text) {
    if (this.#finished && text === this.#source) return;
    this.#reset("");
    this.#source = text;
    this.#take(this.#cleaner.feed(text));
    this.finish();
  }

  #reset(text) {
    this.#parser = new BlockParser();
    this.#cleaner = new TextCleaner();
    this.#saved = null;
    this.#line = "";
    this.#finished = false;
    this.#element.replaceChildren();
    this.#view = createView("root", this.#element);
    if (text) this.#take(this.#cleaner.feed(text));
  }

  #take(text) {
    if (!text) return;
    this.#untry();
    const lines = text.split("\n");
    lines[0] = this.#line + lines[0];
    this.#line = /** @type {string} */ (lines.pop());
    for (const line of lines) this.#parser.line(line);
    const { root, tail } = this.#parser;
    if (lines.length) renderChildren(this.#view, root, tail?.closed ? null : tail, true);
  }

  /** Show the last line as far as it has come. */
  #try() {
    this.#untry();
    this.#saved = this.#parser.save();
    if (this.#line && !UNDECIDED.test(this.#line)) this.#parser.line(this.#line);
    renderChildren(this.#view, this.#parser.root, this.#parser.tail, false);
  }

  #untry() {
    if (this.#saved) this.#parser.restore(this.#saved);
    this.#saved = null;
  }
}
