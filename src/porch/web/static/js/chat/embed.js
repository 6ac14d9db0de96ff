/**
 * `<porch-chat agent="@workspace/name">` on any site, by `<script type="module" src="https://porch.example/embed.js">`.
 *
 * Attributes: `agent`; `theme` ("light" or "dark"; without it, the reader's own); `name` (what the agent is called);
 * `placeholder`; `suggestions` (a JSON array of first messages); `base` (the server's address, where it is not where
 * the script came from). Anything inside with `slot="greeting"` is shown while nothing was said. Custom properties:
 * `--porch-accent`, `--porch-accent-ink`, `--porch-font`, `--porch-radius`.
 *
 * Dispatches `porch:conversation` {id} when a conversation begins and `porch:answer` {status} when an answer ends.
 */

import { ChatElement } from "./element.js";
import { Visitor, registerUnit } from "./visitor.js";

const BASE = import.meta.url.slice(0, import.meta.url.lastIndexOf("/static/"));

class EmbeddedChat extends ChatElement {
  static observedAttributes = [...ChatElement.observedAttributes, "base", "theme"];

  makeHost() {
    return new Visitor(this, (this.getAttribute("base") || BASE).replace(/\/+$/, ""));
  }

  attributeChangedCallback(name, before, after) {
    if (name !== "theme") super.attributeChangedCallback(name, before, after);
    else if (this.host?.frame) this.host.dress();
  }
}

registerUnit();
if (!customElements.get("porch-chat")) customElements.define("porch-chat", EmbeddedChat);
