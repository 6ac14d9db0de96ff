/**
 * Server-sent events from bytes, the same for every split of them (WHATWG HTML, 9.2.6).
 *
 * Beyond it: an event that the end leaves without its blank line still counts, and the size of one is capped.
 */

const LINE_END = /\r\n|\n|\r/g;

/** @typedef {{event: string, data: string, id: string|null}} ServerSentEvent */

export class SseDecoder {
  #decoder = new TextDecoder("utf-8", { fatal: true });
  #line = "";
  #size = 0;
  #skipLineFeed = false;
  #event = "";
  #id = null;
  #data = /** @type {string[]} */ ([]);
  #max;

  /** @param {{maxLength?: number}} [options] `maxLength` caps one event with its comments, in UTF-16 units. */
  constructor({ maxLength = 8 * 1024 * 1024 } = {}) {
    this.#max = maxLength;
  }

  /**
   * The events that these bytes complete. Throws TypeError for bytes that are no UTF-8, RangeError over the cap.
   * @param {Uint8Array} bytes
   * @returns {ServerSentEvent[]}
   */
  feed(bytes) {
    return this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /**
   * What the end leaves: the last event where only its blank line is missing.
   * @returns {ServerSentEvent[]}
   */
  finish() {
    const found = this.#read(this.#decoder.decode());
    if (this.#line) this.#field(this.#line);
    this.#line = "";
    this.#dispatch(found);
    return found;
  }

  #read(text) {
    const found = [];
    let start = 0;
    if (text && this.#skipLineFeed) {
      this.#skipLineFeed = false;
      if (text[0] === "\n") start = 1;
    }
    LINE_END.lastIndex = start;
    for (let match = LINE_END.exec(text); match; match = LINE_END.exec(text)) {
      this.#grow(match.index - start);
      const line = this.#line + text.slice(start, match.index);
      this.#line = "";
      start = LINE_END.lastIndex;
      if (match[0] === "\r" && start === text.length) this.#skipLineFeed = true;
      if (line) this.#field(line);
      else this.#dispatch(found);
    }
    this.#grow(text.length - start);
    this.#line += text.slice(start);
    return found;
  }

  #grow(by) {
    this.#size += by;
    if (this.#size > this.#max) throw new RangeError(`One event of the stream is over ${this.#max} characters.`);
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value[0] === " ") value = value.slice(1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch(found) {
    if (this.#data.length) found.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
    this.#data = [];
    this.#event = "";
    this.#id = null;
    this.#size = 0;
  }
}
