/** A call that waits for a person: exactly what would run, until when, and the two answers to it. */

import { make, say } from "./dom.js";
import { moment } from "./figures.js";
import { cleanText } from "../markdown/text.js";

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const DONE = { approve: "Approved", deny: "Denied" };

export class ApprovalCard {
  /** `acts` has approval(id) and decide(run, id, decision); without it the card is only read. */
  constructor(acts) {
    this.acts = acts;
    this.title = make("p", { class: "approval-title" });
    this.pre = make("pre", { tabindex: "0", dir: "ltr", "aria-label": "What would run" });
    this.until = make("p", { class: "soft" });
    this.fault = make("p", { class: "approval-fault", role: "alert", hidden: true });
    this.approve = make("button", { type: "button", class: "button button-primary", on: { click: () => this.#decide("approve") } }, "Approve");
    this.deny = make("button", { type: "button", class: "button", on: { click: () => this.#decide("deny") } }, "Deny");
    this.buttons = make("div", { class: "approval-buttons", hidden: true }, this.approve, this.deny);
    this.element = make("div", { class: "approval", role: "group", "aria-label": "Approval", hidden: true }, this.title, this.pre, this.until, this.fault, this.buttons);
  }

  /** `approval` is a call's {id, run, arguments, expires, decision, by}, or null. */
  update(approval) {
    this.element.hidden = !approval;
    if (!approval) return;
    const first = this.approval?.id !== approval.id;
    this.approval = approval;
    say(this.title, approval.decision ? told(approval) : "This waits for a decision. Exactly this would run:");
    const expires = moment(approval.expires);
    say(this.until, approval.decision || expires === null ? "" : `Without a decision until ${when.format(expires)} it is denied.`);
    this.element.classList.toggle("decided", Boolean(approval.decision));
    if (approval.decision) this.buttons.hidden = true;
    if (first) this.#look();
  }

  /** The very text that would run, and whether one may decide: a parsed object would round large numbers. */
  async #look() {
    const { approval } = this;
    say(this.pre, cleanText(JSON.stringify(approval.arguments)));
    if (!this.acts || approval.decision) return;
    try {
      const known = await this.acts.approval(approval.id);
      say(this.pre, cleanText(known.canonical));
      this.buttons.hidden = !known.may_decide;
      if (!known.may_decide && !known.decision) say(this.title, "This waits for somebody who may decide. Exactly this would run:");
    } catch (error) {
      this.#tell(error);
    }
  }

  async #decide(decision) {
    this.approve.disabled = this.deny.disabled = true;
    this.fault.hidden = true;
    try {
      await this.acts.decide(this.approval.run, this.approval.id, decision);
      say(this.title, `${DONE[decision]}. The answer goes on …`);
      say(this.until, "");
      this.buttons.hidden = true;
    } catch (error) {
      this.#tell(error);
    } finally {
      this.approve.disabled = this.deny.disabled = false;
    }
  }

  #tell(error) {
    say(this.fault, error.message || "That did not work. Try again.");
    this.fault.hidden = false;
  }
}

function told({ decision, by }) {
  if (by === "system:expiry") return "Nobody decided in time, so this was denied:";
  return `${DONE[decision]}:`;
}
