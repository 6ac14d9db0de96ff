/** What a person said: shown as written, changed in place. */

import { Shown, attachment, filesOf } from "./attachments.js";
import { iconButton, make, say } from "./dom.js";
import { cleanText } from "../markdown/text.js";
import { plainText } from "./thread.js";
import { VersionSwitch, grow, onSend, tooLong } from "./controls.js";

const FOLDED = 4000;
const STILL_WRITTEN = "The answer is still being written. Wait for its end; your text stays here.";

export class UserMessageView {
  /** `acts` has edit(id, text, files), show(id), copy(text). */
  constructor(acts, { readonly, host }) {
    this.acts = acts;
    this.text = "";
    this.words = make("div", { class: "bubble", dir: "auto" });
    this.shown = new Shown({ host });
    this.more = make("button", { type: "button", class: "link", hidden: true, on: { click: () => this.#unfold() } });
    this.versions = new VersionSwitch((id) => acts.show(id));
    this.editButton = iconButton("edit", "Edit this message", () => this.edit());
    this.copyButton = iconButton("copy", "Copy this message", () => acts.copy(this.text, this.copyButton));
    this.waits = make("p", { class: "waits", hidden: true }, make("span", {}, "Waits for the answer before it"), " ", this.takeBack = make("button", { type: "button", class: "link", on: { click: () => acts.withdraw(this.run) } }, "Take back"));
    this.bar = make("div", { class: "bar" }, this.versions.element, this.copyButton, readonly ? null : this.editButton);
    this.who = make("p", { class: "author", dir: "auto", hidden: true, "aria-hidden": "true" });
    this.heading = make("h2", { class: "unseen" }, "You said");
    this.said = make("div", { class: "said" }, this.who, this.shown.element, this.words, this.more, this.waits, this.bar);
    this.element = make("li", { class: "turn turn-user" }, this.heading, this.said);
  }

  update(turn) {
    const { message, locked } = turn;
    this.id = message.id;
    this.run = turn.run;
    this.element.classList.toggle("pending", Boolean(turn.pending || turn.waiting));
    this.element.classList.toggle("turn-waits", Boolean(turn.waiting));
    this.waits.hidden = turn.waiting !== "here";
    this.bar.hidden = Boolean(turn.waiting);
    this.editButton.disabled = Boolean(locked || turn.pending);
    this.versions.update(turn.versions, locked);
    this.files = filesOf(message);
    this.shown.update(message);
    const { name = "", you = true } = message.author ?? {};
    this.who.hidden = you;
    say(this.who, you ? "" : cleanText(name));
    say(this.heading, you ? "You said" : `${cleanText(name)} said`);
    const text = plainText(message);
    this.words.hidden = this.copyButton.hidden = !text;
    if (text === this.text && this.filled) return;
    this.filled = true;
    this.text = text;
    this.folded = text.length > FOLDED;
    this.#fill();
  }

  /** Turn the message into a box with its text; sending it starts another branch. */
  edit() {
    if (this.form) return;
    const box = make("textarea", { class: "box", rows: "2", dir: "auto", "aria-label": "Your message" });
    box.value = this.text;
    const refusal = make("p", { class: "refusal-hint", role: "status" });
    const told = make("p", { class: "soft" });
    const attached = make("ul", { class: "attached", role: "list", "aria-label": "Attached to this message" });
    const sources = this.files.map((part, at) => [part, this.shown.sourceOf(at)]);
    let kept = sources;
    const show = () => {
      attached.hidden = !kept.length;
      attached.replaceChildren(...kept.map(([part, source], at) => attachment(part, source, () => {
        kept = kept.filter((other) => other[0] !== part);
        show();
        (attached.querySelectorAll("button")[Math.min(at, kept.length - 1)] ?? box).focus();
      })));
      say(told, `Sending begins a new version of the conversation here${kept.length ? ", with what is attached" : ""}. The old one stays.`);
    };
    show();
    const send = () => {
      const text = box.value;
      if (!text.trim() && !kept.length) return;
      say(refusal, tooLong(text));
      if (refusal.textContent) return;
      if (this.acts.edit(this.id, text, kept.map(([part]) => part))) this.#close();
      else say(refusal, STILL_WRITTEN);
    };
    this.form = make(
      "form",
      { class: "editing", on: { submit: (event) => { event.preventDefault(); send(); } } },
      attached,
      box,
      refusal,
      told,
      make(
        "div",
        { class: "row-end" },
        make("button", { type: "button", class: "button", on: { click: () => this.#close() } }, "Cancel"),
        make("button", { type: "submit", class: "button button-primary" }, "Send"),
      ),
    );
    onSend(box, send);
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      this.#close();
    });
    grow(box);
    this.said.hidden = true;
    this.element.append(this.form);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }

  close() {
    this.shown.close();
  }

  #close() {
    this.form?.remove();
    this.form = null;
    this.said.hidden = false;
    this.editButton.focus();
  }

  #unfold() {
    this.folded = !this.folded;
    this.#fill();
  }

  #fill() {
    say(this.words, cleanText(this.folded ? `${this.text.slice(0, FOLDED / 2)} …` : this.text));
    this.more.hidden = this.text.length <= FOLDED;
    say(this.more, this.folded ? `Show all ${this.text.length.toLocaleString()} characters` : "Show less");
  }
}
