/** The chat on Porch's own pages: whoever talks is signed in, and the page around it follows. */

import { PorchClient } from "../client/client.js";
import { suggestionsOf } from "./given.js";
import { requestFault } from "./notices.js";
import { ChatPage } from "./page.js";
import { currentCsrf, renewCsrf } from "./session.js";

const STYLES = new URL("../../css/chat.css", import.meta.url).href;

export class Member {
  foreign = false;
  styles = STYLES;
  gone = "This conversation is gone. Bring it back or start a new one; your text goes along.";

  constructor(element) {
    this.element = element;
    this.base = element.getAttribute("base") ?? "";
    this.client = new PorchClient({ base: this.base, csrf: currentCsrf() });
  }

  get conversation() {
    return this.element.getAttribute("conversation");
  }

  get name() {
    return this.element.getAttribute("name") || this.element.getAttribute("agent") || "The agent";
  }

  get placeholder() {
    return this.element.getAttribute("agent") ? `Message ${this.name}` : "Message";
  }

  get suggestions() {
    return suggestionsOf(this.element);
  }

  /** What follows the conversation, null where the page has more to show than it. */
  get page() {
    return this.element.hasAttribute("navigates") ? new ChatPage(this.element) : null;
  }

  around(chat) {
    return chat;
  }

  fault(error) {
    return requestFault(error);
  }

  /** The page's address holds the conversation. */
  keep() {}

  isForgotten() {
    return false;
  }

  /** Whether a session is there again; then `client` is of that one. */
  async signedInAgain() {
    const csrf = await renewCsrf(this.base);
    if (csrf) this.client = new PorchClient({ base: this.base, csrf });
    return Boolean(csrf);
  }

  /** Where a part's bytes are, for an image or a link to ask for. */
  addressOf(part) {
    return this.base + part.url;
  }
}
