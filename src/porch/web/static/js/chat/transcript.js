/** The conversation as a list of turns: newest at the end, older ones fetched when one scrolls up to them. */

import { AnswerView } from "./answer.js";
import { icon, make, say } from "./dom.js";
import { ScrollKeeper } from "./scroll-keeper.js";
import { UserMessageView } from "./user-message.js";

export class Transcript {
  /**
   * `acts` goes to the turns; `onOlder()` loads older messages and answers a promise.
   * `options` are {readonly, name, host, empty}: what the agent is called, a `Member` or `Visitor`, and the element to
   * show while nothing was said.
   */
  constructor(acts, onOlder, options) {
    this.acts = acts;
    this.onOlder = onOlder;
    this.options = options;
    this.views = new Map();
    this.list = make("ol", { class: "turns", role: "list", hidden: true });
    this.olderButton = make("button", { type: "button", class: "button", on: { click: () => this.#older() } }, "Show older messages");
    this.older = make("div", { class: "older", hidden: true }, this.olderButton);
    this.loading = make("p", { class: "loading", role: "status", hidden: true }, "Fetching the conversation …");
    this.content = make("div", { class: "content" }, this.older, this.loading, options.empty, this.list);
    this.scroller = make("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Conversation" }, this.content);
    this.pillText = make("span", {}, "Newest");
    this.pill = make("button", { type: "button", class: "pill", hidden: true, on: { click: () => this.toEnd() } }, this.pillText, icon("down"));
    this.element = make("div", { class: "transcript" }, this.scroller, this.pill);
    this.keeper = new ScrollKeeper(this.scroller, this.content, (away) => this.#left(away));
    // What does not go on is read from its beginning.
    if (options.readonly) this.keeper.close();
    this.watch = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#older(), { root: this.scroller, rootMargin: "600px 0px 0px" });
    this.watch.observe(this.older);
  }

  /** Show these turns; those that stay keep their elements. */
  show(turns, { more, loading }) {
    const keys = new Set(turns.map((turn) => turn.key));
    for (const [key, view] of this.views) {
      if (keys.has(key)) continue;
      view.close();
      view.element.remove();
      this.views.delete(key);
    }
    let before = null;
    turns.forEach((turn) => {
      let view = this.views.get(turn.key);
      if (!view) {
        view = turn.role === "user" ? new UserMessageView(this.acts, this.options) : new AnswerView(this.acts, this.options);
        this.views.set(turn.key, view);
      }
      const next = before ? before.nextSibling : this.list.firstChild;
      if (next !== view.element) this.list.insertBefore(view.element, next);
      view.update(turn);
      before = view.element;
    });
    this.last = turns.findLast(({ waiting }) => !waiting);
    this.list.hidden = turns.length === 0;
    this.options.empty.hidden = turns.length > 0 || loading;
    this.loading.hidden = !loading || turns.length > 0;
    this.older.hidden = !more;
  }

  /** Show more of the answer that is being written. */
  grow() {
    const view = this.views.get(this.last?.key);
    if (!view) return;
    view.update(this.last);
    // Laying out is part of what showing costs: whoever asked for it measures.
    this.keeper.keep();
    if (!this.keeper.following) {
      say(this.pillText, "New text below");
      this.pill.classList.add("fresh");
    }
  }

  /** Open a message for editing. */
  edit(id) {
    for (const view of this.views.values()) if (view.id === id && view.edit) view.edit();
  }

  toEnd() {
    this.keeper.toEnd();
  }

  close() {
    for (const view of this.views.values()) view.close();
    this.watch.disconnect();
    this.keeper.close();
  }

  async #older() {
    if (this.fetching || this.older.hidden) return;
    this.fetching = true;
    this.olderButton.disabled = true;
    const anchor = this.list.firstElementChild;
    const draw = await this.onOlder();
    this.keeper.hold(anchor, draw);
    this.olderButton.disabled = false;
    this.fetching = false;
    // Still in sight: the observer only tells of changes.
    this.watch.unobserve(this.older);
    this.watch.observe(this.older);
  }

  #left(away) {
    this.pill.hidden = !away;
    if (away) return;
    say(this.pillText, "Newest");
    this.pill.classList.remove("fresh");
  }
}
