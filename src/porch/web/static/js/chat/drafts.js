/** What was typed and not sent, kept for this tab over reloads and signing in. */

import { filesOf, sameFiles } from "./attachments.js";
import { plainText } from "./thread.js";

const PREFIX = "porch-draft:";

/** The draft of a conversation, or of an agent while there is no conversation yet. */
export class Draft {
  constructor(name) {
    this.key = PREFIX + name;
  }

  read() {
    return get(this.key) ?? "";
  }

  write(text) {
    put(this.key, text || null);
  }

  /** How many pictures and files were attached: they themselves live as long as the page. */
  get files() {
    return Number(get(`${this.key}:files`)) || 0;
  }

  set files(count) {
    put(`${this.key}:files`, count ? String(count) : null);
  }

  /** The messages that are on their way, in the order in which they were said: a page that goes away gives them back. */
  get held() {
    try {
      const held = JSON.parse(get(`${this.key}:sent`));
      return Array.isArray(held) ? held : [];
    } catch {
      return [];
    }
  }

  set held(messages) {
    put(`${this.key}:sent`, messages.length ? JSON.stringify(messages) : null);
  }
}

/** What was said on this page and is not known to have arrived. */
export class OnTheWay {
  constructor() {
    this.said = []; // {text, key, files, after, edits, back}: `after` is the newest message of that time, `back` is in the box again
  }

  /** The key under which a text counts once: that of the same one, given back and sent again. */
  keyOf(text, files) {
    return this.said.find((one) => one.back && !one.edits && one.text === text && sameFiles(one.files, files))?.key ?? null;
  }

  /** One was sent. What was given back before is dealt with by that. */
  add(message) {
    this.said = [...this.said.filter(({ back }) => !back), { ...message, back: false }];
  }

  /** It arrived. Answers whether it was on its way. */
  remove(key) {
    const found = this.said.some((one) => one.key === key);
    this.said = this.said.filter((one) => one.key !== key);
    return found;
  }

  /** It did not arrive, and is in the box again. */
  giveBack(text, files) {
    const found = this.said.find((one) => one.text === text && sameFiles(one.files, files));
    if (found) found.back = true;
  }

  /** What of it outlasts the page: of pictures and files only how many they were. */
  get lasting() {
    return this.said.map(({ text, key, files, after, edits }) => ({ text, key, after, edits, count: files.length }));
  }

  /**
   * Take what was on its way when a page went away, but for what has `arrived`: messages {id, parts}. Answers the texts that
   * were not known to, and how many files are gone with the page.
   */
  restore(held, arrived) {
    const missing = held.filter(({ text, count, after }) => {
      const at = arrived.findIndex((message) => message.id > after && plainText(message) === text && filesOf(message).length === count);
      if (at >= 0) arrived.splice(at, 1);
      return at < 0;
    });
    // Without its files it is another message.
    this.said = missing.filter(({ count }) => !count).map((message) => ({ ...message, files: [], back: true }));
    return { texts: missing.map(({ text }) => text), files: missing.reduce((sum, { count }) => sum + count, 0) };
  }
}

function get(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null; // storage may be forbidden; then a draft lives as long as the page
  }
}

function put(key, text) {
  try {
    if (text === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // full or forbidden: the box itself still holds the text
  }
}
