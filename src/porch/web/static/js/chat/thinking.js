/** What the model thinks, folded away: a line that says for how long, and the text for who wants it. */

import { MarkdownView } from "../markdown/markdown.js";
import { icon, make, say } from "./dom.js";
import { seconds } from "./figures.js";

export class ThinkingView {
  constructor() {
    this.label = make("span", { class: "thinking-label" });
    this.body = make("div", { class: "prose thinking-body" });
    this.element = make("details", { class: "thinking" }, make("summary", {}, icon("thought"), this.label, icon("fold")), this.body);
    this.element.addEventListener("toggle", () => this.#fill());
    this.shown = 0;
    this.since = Date.now();
  }

  update(item) {
    this.item = item;
    this.element.classList.toggle("open-ended", item.open);
    this.#tell();
    if (item.open) this.timer ??= setInterval(() => this.#tell(), 1000);
    else this.#stop();
    this.#fill();
  }

  close() {
    this.#stop();
  }

  #stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  #tell() {
    const { open, startedAt, endedAt } = this.item;
    if (open) {
      // The server's clock is not this one's: while it goes on, what passed here counts.
      say(this.label, `Thinking … ${Math.floor((Date.now() - this.since) / 1000)} s`);
    } else {
      const known = startedAt !== null && endedAt !== null;
      say(this.label, known ? `Thought for ${seconds(endedAt - startedAt)}` : "Thoughts");
    }
  }

  #fill() {
    if (!this.element.open || !this.item) return;
    this.view ??= new MarkdownView(this.body);
    const { text, open } = this.item;
    if (text.length > this.shown) this.view.append(text.slice(this.shown));
    this.shown = text.length;
    if (!open && !this.whole) {
      this.whole = true;
      this.view.finish();
    }
  }
}
