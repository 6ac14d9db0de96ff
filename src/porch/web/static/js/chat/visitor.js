/** The chat on somebody else's site: whoever talks is a visitor there, and the page around it is left alone. */

import { PorchClient } from "../client/client.js";
import { Guest } from "../client/guest.js";
import { make } from "./dom.js";
import { suggestionsOf } from "./given.js";
import { requestFault } from "./notices.js";

const STYLES = new URL("../../css/embed.css", import.meta.url).href;
const UNIT = "--porch-rem";
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const THEMES = new Set(["light", "dark"]);
const LEFT_TO_THE_PAGE = new Set(["Escape", "Tab"]);

/** Sizes hang on the reader's own size of text, not on the page's root element, which is the page's affair. */
export function registerUnit() {
  try {
    CSS.registerProperty({ name: UNIT, syntax: "<length>", inherits: true, initialValue: "16px" });
  } catch {
    // known already
  }
}

export class Visitor {
  foreign = true;
  styles = STYLES;
  page = null;
  gone = "This conversation is gone. Start a new one; your text goes along.";

  constructor(element, base) {
    this.element = element;
    this.guest = new Guest({ base, agent: element.getAttribute("agent") });
    this.base = base;
    this.client = new PorchClient({ base, guest: this.guest });
  }

  get conversation() {
    return this.guest.conversation;
  }

  get name() {
    return this.element.getAttribute("name") || this.guest.about.title || "The agent";
  }

  get placeholder() {
    const named = this.element.getAttribute("name") || this.guest.about.title;
    return named ? `Message ${named}` : "Write a message";
  }

  get suggestions() {
    const own = suggestionsOf(this.element);
    return own.length ? own : (this.guest.about.suggestions ?? []);
  }

  around(chat) {
    this.frame = make("div", { class: "standalone" }, chat);
    this.dress();
    for (const name of ["keydown", "keypress", "keyup"]) chat.addEventListener(name, hush);
    return this.frame;
  }

  /** Take on the theme that the element asks for. */
  dress() {
    const theme = this.element.getAttribute("theme") ?? "";
    this.frame.className = THEMES.has(theme) ? `standalone theme-${theme}` : "standalone";
  }

  keep(conversation) {
    this.guest.conversation = conversation;
  }

  /** Whether a conversation from before is not this visitor's any more, so that nothing was lost from sight. */
  isForgotten(error, talk) {
    return error.status === 404 && error.code === "not_found" && Boolean(talk.conversation) && !talk.thread.loaded;
  }

  fault(error) {
    const { status = 0, code = "", message = "" } = error;
    if (code === "origin_not_allowed" || code === "not_embedded" || status === 429) return { kind: "refused", tone: "warn", sentence: message };
    if (status === 401) return { kind: "refused", tone: "warn", sentence: "This visit has ended.", detail: "Try again, or reload the page. What you wrote stays here." };
    const found = requestFault(error);
    if (found.kind === "gone") return { ...found, detail: "What is shown here is the last that this page saw." };
    if (found.kind === "network") return { ...found, sentence: "The agent could not be reached.", detail: "Check the connection, then try again. What you wrote stays here." };
    return found;
  }

  /** An address for a picture's bytes, which are asked for with the visitor's token. Let go of it by `URL.revokeObjectURL`. */
  async picture({ url, media_type: type }) {
    return URL.createObjectURL(await this.#fetch(url, PICTURES.has(type) ? type : "application/octet-stream"));
  }

  /** Save a file on the visitor's device. Never shown: it would be a page of the site that the chat stands on. */
  async save({ url, name }) {
    const address = URL.createObjectURL(await this.#fetch(url, "application/octet-stream"));
    make("a", { href: address, download: name || "file" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  async #fetch(url, type) {
    return new Blob([await this.client.download(url)], { type });
  }
}

/** The page's shortcuts are not for what is typed here. */
function hush(event) {
  if (event.target.matches("textarea") && !LEFT_TO_THE_PAGE.has(event.key)) event.stopPropagation();
}
