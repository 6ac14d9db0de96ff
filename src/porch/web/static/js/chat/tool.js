/** A tool call as it happens: its name, what it was asked, what it gave, how long it took. */

import { ApprovalCard } from "./approval.js";
import { icon, make, say } from "./dom.js";
import { duration } from "./figures.js";
import { cleanText } from "../markdown/text.js";

const SHOWN = 20_000;
const GLANCE = 90;

export class ToolView {
  /** `acts` are what one may do about a call that waits; null where one only reads. */
  constructor(acts = null) {
    this.name = make("code", { class: "tool-name" });
    this.glance = make("span", { class: "tool-glance", dir: "auto" });
    this.state = make("span", { class: "tool-state" });
    this.asked = new Block("Asked with");
    this.gave = new Block("Gave");
    this.approval = new ApprovalCard(acts);
    this.element = make(
      "details",
      { class: "tool" },
      make("summary", {}, icon("tool"), this.name, this.glance, this.state, icon("fold")),
      make("div", { class: "tool-body" }, this.approval.element, this.asked.element, this.gave.element),
    );
    this.element.addEventListener("toggle", () => this.#fill());
  }

  /** `over` says that nothing more will come, so that what is open was left so. */
  update(item, over = false) {
    this.item = item;
    say(this.name, cleanText(item.name ?? "tool"));
    say(this.glance, cleanText(atAGlance(item)));
    const state = stateOf(item, over);
    if (this.element.dataset.state !== state.name) this.element.dataset.state = state.name;
    say(this.state, state.text);
    if (this.told !== state.name && (state.name === "failed" || state.name === "waiting")) {
      this.told = state.name;
      this.element.open = true;
    }
    this.#fill();
  }

  #fill() {
    if (!this.element.open || !this.item) return;
    const { arguments: given, argumentsText, result, approval } = this.item;
    this.approval.update(approval ?? null);
    if (!approval) this.asked.show(given ? pretty(given) : argumentsText || "nothing");
    const error = this.item.error ?? result?.error;
    this.gave.show(error ? error.message : result ? outputText(result) : "");
    this.gave.element.classList.toggle("failed", Boolean(error));
  }
}

class Block {
  constructor(title) {
    this.pre = make("pre", { tabindex: "0", dir: "auto", "aria-label": title });
    this.more = make("button", { type: "button", class: "link", hidden: true, on: { click: () => this.show(this.text, true) } }, "Show all of it");
    this.element = make("div", { class: "tool-block", hidden: true }, make("p", { class: "label", "aria-hidden": "true" }, title), this.pre, this.more);
  }

  show(text, all = this.all) {
    this.text = text;
    this.all = all;
    this.element.hidden = !text;
    this.more.hidden = all || text.length <= SHOWN;
    say(this.pre, cleanText(all ? text : text.slice(0, SHOWN)));
  }
}

function stateOf({ error, result, open, approval }, over) {
  if (error ?? result?.error) return { name: "failed", text: took("failed", result) };
  if (result && !result.open) return { name: "done", text: took("done", result) };
  if (approval && !approval.decision) return { name: "waiting", text: "waits for a decision" };
  if (over) return { name: "left", text: "not run" };
  return open ? { name: "running", text: "asking …" } : { name: "running", text: "running …" };
}

function took(word, result) {
  return Number.isFinite(result?.durationMs) ? `${word} in ${duration(result.durationMs)}` : word;
}

function atAGlance({ arguments: given, argumentsText }) {
  const text = given ? (Object.keys(given).length ? JSON.stringify(given) : "") : (argumentsText ?? "");
  return text.length > GLANCE ? `${text.slice(0, GLANCE)}…` : text;
}

function outputText({ text, output }) {
  if (typeof output === "string") return output;
  if (output !== undefined && output !== null) return pretty(output);
  return text ?? "";
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}
