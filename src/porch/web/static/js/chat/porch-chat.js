/**
 * `<porch-chat agent="@workspace/name">`: a conversation with an agent, in a box of its own.
 *
 * Attributes: `agent`; `conversation` (its id; without it one begins with the first message); `draft` (new
 * conversations are with the agent's draft); `readonly`; `navigates` (the page's address and heading follow the conversation);
 * `base` (another server's origin); `placeholder`; `suggestions` (a JSON array of first messages); `name` (what the
 * agent is called). Children: `<script type="application/json" data-suggestions>`, the same; for `readonly`
 * `<script type="application/json">` with the messages; anything with `slot="greeting"` is shown while nothing was said.
 *
 * Dispatches `porch:conversation` {id} when one begins and `porch:answer` {status} when an answer ends.
 */

import { ChatElement } from "./element.js";
import { Member } from "./member.js";

class PorchChat extends ChatElement {
  makeHost() {
    return new Member(this);
  }
}

customElements.define("porch-chat", PorchChat);
