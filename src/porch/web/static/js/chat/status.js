/** The strip between conversation and box: what is wrong just now, and what to do about it. */

import { make, say } from "./dom.js";
import { noticeBox, signInAddress } from "./notices.js";

const BACK_MS = 3000;
const GOES_ON = "The connection is lost. The answer goes on without it; trying to come back …";
const NOT_SENT = "The connection is lost. Trying again to send your message …";

export class StatusStrip {
  /**
   * `ways` has recheck(), restore() where there is that, fresh(), reload(), resend(); `tell` makes of an error what
   * to say: {kind, tone, sentence, detail?}.
   */
  constructor(ways, tell) {
    this.ways = ways;
    this.tell = tell;
    this.line = make("p", { class: "line", role: "status" });
    this.place = make("div", { class: "place" });
    this.element = make("div", { class: "status" }, this.place, this.line);
    this.kind = null;
  }

  /** Show a failed request. Answers its kind. */
  fault(error, { resend }) {
    const { kind, ...notice } = this.tell(error);
    this.kind = kind;
    this.place.replaceChildren(noticeBox({ ...notice, actions: this.#actions(kind, resend) }));
    return kind;
  }

  clear() {
    if (!this.kind) return;
    this.kind = null;
    this.place.replaceChildren();
  }

  /** The stream's connection was "lost" or is "back"; `begun` tells whether there is an answer that goes on. */
  connection(state, begun = true) {
    clearTimeout(this.timer);
    const lost = state === "lost";
    this.line.classList.toggle("lost", lost);
    say(this.line, lost ? (begun ? GOES_ON : NOT_SENT) : "Connected again.");
    if (!lost) this.timer = setTimeout(() => say(this.line, ""), BACK_MS);
  }

  quiet() {
    if (this.line.classList.contains("lost")) this.connection("back");
  }

  /** Say nothing of the connection: something else is the matter. */
  silence() {
    clearTimeout(this.timer);
    this.line.classList.remove("lost");
    say(this.line, "");
  }

  #actions(kind, resend) {
    const { ways } = this;
    const reload = { label: "Try again", act: resend ? ways.resend : ways.reload };
    switch (kind) {
      case "signed-out":
        return [{ label: "Sign in", href: signInAddress(), tab: true }, { label: "I have signed in", act: ways.recheck }];
      case "gone":
        return [...(ways.restore ? [{ label: "Bring it back", act: ways.restore }] : []), { label: "Start a new conversation", act: ways.fresh }];
      case "busy":
      case "unfit":
        return [];
      default:
        return [reload];
    }
  }
}
