/** What the agent said: thoughts, words and tools in the order they came, and a quiet line of figures below. */

import { messageItems } from "../client/run-state.js";
import { MarkdownView } from "../markdown/markdown.js";
import { VersionSwitch } from "./controls.js";
import { iconButton, make, say } from "./dom.js";
import { figures } from "./figures.js";
import { endingNotice, failureNotice, noticeBox } from "./notices.js";
import { cleanText } from "../markdown/text.js";
import { ThinkingView } from "./thinking.js";
import { ToolView } from "./tool.js";

class ProseView {
  constructor(kind) {
    const prose = make("div", { class: "prose" });
    this.element = kind === "refusal" ? make("div", { class: "refusal" }, make("p", { class: "label" }, "Declined"), prose) : prose;
    this.view = new MarkdownView(prose);
    this.shown = 0;
  }

  update(item) {
    if (item.text.length > this.shown) this.view.append(item.text.slice(this.shown));
    this.shown = item.text.length;
    if (!item.open && !this.whole) {
      this.whole = true;
      this.view.finish();
      // A task has its box for a bullet.
      for (const entry of this.element.querySelectorAll("li")) if (/^[\u2610\u2611] /.test(entry.firstChild?.textContent ?? "")) entry.classList.add("task");
    }
  }

  close() {}
}

const VIEWS = { text: ProseView, refusal: ProseView, reasoning: ThinkingView };

export class AnswerView {
  /** `acts` has again(id), show(id), copy(text, button), edit(id), more(), fresh(), figures(run), approval(id), decide(…). */
  constructor(acts, { readonly, name, host }) {
    this.acts = acts;
    this.foreign = host.foreign;
    this.readonly = readonly;
    this.views = new Map(); // by item; items keep their identity for as long as they stand
    this.generation = 0;
    this.body = make("div", { class: "answer" });
    this.waiting = make("p", { class: "waiting" }, make("span", { class: "unseen" }, "Waiting for the answer"), make("i"), make("i"), make("i"));
    this.asides = make("div", { class: "asides" });
    this.versions = new VersionSwitch((id) => acts.show(id));
    this.copyButton = iconButton("copy", "Copy this answer", () => acts.copy(this.words(), this.copyButton));
    this.againButton = iconButton("again", "Answer again", () => acts.again(this.turn));
    this.figuresButton = iconButton("figures", "Show figures", () => this.#askFigures(), { hidden: true });
    this.figures = make("p", { class: "figures", dir: "ltr" });
    this.bar = make("div", { class: "bar", hidden: true }, this.versions.element, this.copyButton, readonly ? null : this.againButton, this.figuresButton, this.figures);
    this.element = make("li", { class: "turn turn-agent" }, make("h2", { class: "unseen" }, `${name} answered`), this.body, this.waiting, this.asides, this.bar);
  }

  /** `turn` has `message` (stored) or `state` (a RunState), or neither while the answer is waited for. */
  update(turn) {
    this.turn = turn;
    const { state, message } = turn;
    const items = state ? state.steps.flatMap((step) => step.items) : this.#stored(message);
    const live = state ? state.status === "running" : !message;
    if (state && state.generation !== this.generation) {
      this.generation = state.generation;
      this.#forget();
    }
    this.#place(items, !live);
    this.items = items;
    if (live !== this.live) {
      this.live = live;
      this.element.classList.toggle("live", live);
      this.element.setAttribute("aria-busy", String(live));
    }
    this.waiting.hidden = !live || Boolean(items.at(-1)?.open) || items.at(-1)?.kind === "text";
    this.#asides(turn, live);
    // What waits can neither be answered again nor is it whole.
    this.bar.hidden = live || (state ?? turn.record)?.status === "paused";
    if (!live) this.#close(turn);
  }

  /** The words of the answer, as Markdown. */
  words() {
    return (this.items ?? []).filter((item) => item.kind === "text" || item.kind === "refusal").map((item) => item.text).join("\n\n");
  }

  close() {
    for (const view of this.views.values()) view.close?.();
  }

  #stored(message) {
    if (!message) return [];
    // The items of a message are made once: their identity is what their views hang on.
    if (this.source !== message.parts) [this.source, this.made] = [message.parts, messageItems(message.parts)];
    return this.made;
  }

  #forget() {
    this.close();
    this.views.clear();
    this.body.replaceChildren();
  }

  #place(items, over) {
    const kept = new Set(items);
    for (const [item, view] of this.views) {
      if (kept.has(item)) continue;
      view.close?.();
      view.element.remove();
      this.views.delete(item);
    }
    items.forEach((item, at) => {
      let view = this.views.get(item);
      if (!view) {
        view = item.kind === "call" ? new ToolView(this.readonly ? null : this.acts) : new VIEWS[item.kind](item.kind);
        this.views.set(item, view);
      }
      if (this.body.children[at] !== view.element) this.body.insertBefore(view.element, this.body.children[at] ?? null);
      view.update(item, over);
    });
  }

  #asides(turn, live) {
    const { state, record, question } = turn;
    const notices = (state ?? record)?.notices ?? [];
    const told = state ? `${state.status} ${state.reason} ${state.waits_for?.until} ${notices.length} ${state.sources.length} ${live} ${turn.last}` : `${record?.status} ${turn.last}`;
    if (told === this.told) return;
    this.told = told;
    const found = notices.map((notice) => noticeBox({ tone: "info", sentence: cleanText(notice.text) }));
    const links = sourceList(state?.sources ?? []);
    if (links) found.push(links);
    const ending = state ?? record;
    if (!live && ending) found.push(this.#ending(ending, question, turn.last));
    const boxes = found.filter(Boolean);
    // What happened long ago stands there to be read; it interrupts nobody.
    if (record && !state && !turn.last) boxes.forEach((box) => box.removeAttribute("role"));
    this.asides.replaceChildren(...boxes);
  }

  #ending(ending, question, last) {
    const open = last && !this.readonly;
    const about = { foreign: this.foreign };
    const ways = open ? { ...about, again: () => this.acts.again(this.turn), edit: question ? () => this.acts.edit(question) : null, fresh: () => this.acts.fresh(), more: () => this.acts.more() } : about;
    return ending.status === "failed" && ending.error ? failureNotice(ending.error, ways) : endingNotice(ending, ways);
  }

  #close(turn) {
    this.versions.update(turn.versions, turn.locked);
    this.againButton.disabled = Boolean(turn.locked);
    this.copyButton.hidden = !this.items.some((item) => item.kind === "text" || item.kind === "refusal");
    const known = turn.state ?? turn.record;
    // What an answer took is its owner's affair.
    this.figuresButton.hidden = Boolean(known) || this.readonly || !turn.run || this.foreign;
    if (!this.foreign) say(this.figures, known ? figures(known).join(" · ") : "");
  }

  async #askFigures() {
    this.figuresButton.hidden = true;
    say(this.figures, "…");
    this.figures.tabIndex = -1;
    this.figures.focus();
    const run = await this.acts.figures(this.turn.run);
    say(this.figures, (run && figures(run).join(" · ")) || "Nothing is known of this answer's figures.");
  }
}

function sourceList(sources) {
  const links = sources.flatMap(({ url, title, text }) => {
    const address = URL.parse?.(url ?? "") ?? null;
    if (!address || !["http:", "https:"].includes(address.protocol)) return title || text ? [make("li", {}, cleanText(title ?? text))] : [];
    const words = cleanText(title || address.host);
    return [make("li", {}, make("a", { href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" }, words), title ? make("span", { class: "soft" }, ` ${address.host}`) : null)];
  });
  return links.length ? make("section", { class: "sources" }, make("p", { class: "label" }, "Sources"), make("ol", {}, ...links)) : null;
}

