/** The box one writes in: it grows, keeps its draft, and sends with Enter. */

import { CHOOSE_AGAIN, Tray } from "./attachments.js";
import { grow, onSend } from "./controls.js";
import { icon, make, say } from "./dom.js";

const HINT = "Enter sends, Shift+Enter begins a new line";
const STILL_WRITTEN = "The answer is still being written. Wait for its end, or stop it with Escape; your text stays here.";
const QUEUES = { queue: "Your message will wait for this answer and be answered next.", interrupt: "Your message will stop this answer; what came of it stays." };
const STILL_READ = "A file is still being read. Send in a moment.";

export class Composer {
  /** `onSend(text, files)` answers whether they were taken; `onStop()` stops the answer. */
  constructor({ placeholder, onSend: send, onStop }) {
    this.take = send;
    this.box = make("textarea", { class: "box", id: "message", rows: "1", dir: "auto", enterkeyhint: "send", autocomplete: "off", placeholder, "aria-describedby": "composer-hint" });
    this.sendButton = make("button", { type: "submit", class: "round", "aria-label": "Send", title: "Send" }, icon("send"));
    this.stopButton = make("button", { type: "button", class: "round round-stop", "aria-label": "Stop the answer", title: "Stop (Escape)", hidden: true, on: { click: onStop } }, icon("stop"));
    this.hint = make("p", { class: "hint", id: "composer-hint" }, HINT);
    this.refusal = make("p", { class: "hint refusal-hint", role: "status" });
    this.tray = new Tray({ changed: () => this.#typed(), refuse: (sentence) => this.refuse(sentence), home: this.box });
    this.element = make(
      "form",
      { class: "composer", on: { submit: (event) => { event.preventDefault(); this.#send(); } } },
      make("label", { class: "unseen", for: "message" }, "Message"),
      make("div", { class: "composer-card" }, this.tray.list, this.tray.input, this.tray.button, this.box, make("div", { class: "composer-buttons" }, this.stopButton, this.sendButton)),
      this.refusal,
      this.hint,
      this.tray.said,
    );
    this.fit = grow(this.box);
    this.tray.hearPastes(this.box);
    onSend(this.box, () => this.#send());
    this.box.addEventListener("input", () => {
      if (!this.isAnswering) say(this.refusal, "");
      this.#typed();
    });
    this.#typed();
  }

  /** Keep what is typed in this draft from now on, and show what it holds. */
  keepIn(draft) {
    const typed = this.box.value;
    const lost = draft.files > 0 && this.tray.parts.length === 0;
    this.draft?.write("");
    if (this.draft) this.draft.files = 0;
    this.draft = draft;
    if (typed) draft.write(typed);
    else this.put(draft.read());
    if (lost) this.refuse(CHOOSE_AGAIN);
  }

  /** Put a text into the box, before what was typed meanwhile. */
  put(text) {
    const typed = this.box.value;
    this.box.value = text && typed && text !== typed ? `${text}\n${typed}` : text || typed;
    this.#typed();
    this.fit();
  }

  /** Put pictures and files back, unless others were chosen meanwhile. */
  attach(files) {
    this.tray.put(files);
    this.#typed();
  }

  get files() {
    return this.tray.parts;
  }

  get text() {
    return this.box.value;
  }

  set answering(answering) {
    if (this.stopButton.hidden === !answering) return;
    const held = this.stopButton.matches(":focus");
    this.stopButton.hidden = !answering;
    this.isAnswering = answering;
    if (!answering) say(this.refusal, "");
    if (held) this.focus();
    this.#typed();
  }

  /** What becomes of a message during an answer: "queue", "interrupt", or null where it must wait in the box. */
  set queues(conduct) {
    if (this.conduct === conduct) return;
    this.conduct = conduct;
    say(this.hint, QUEUES[conduct] ?? HINT);
    this.hint.classList.toggle("told", Boolean(QUEUES[conduct]));
    this.#typed();
  }

  /** Why nothing can be sent just now, null where it can. The box stays one to type in: no keystroke is lost. */
  set closed(sentence) {
    this.closedBy = sentence;
    say(this.refusal, "");
    this.#typed();
  }

  /** Say why what is written is not sent. Answers false. */
  refuse(sentence) {
    say(this.refusal, sentence);
    return false;
  }

  get #held() {
    return this.isAnswering && !this.conduct;
  }

  submit() {
    this.#send();
  }

  focus() {
    this.box.focus({ preventScroll: true });
  }

  #typed() {
    const empty = !this.box.value.trim() && !this.tray.parts.length;
    this.sendButton.setAttribute("aria-disabled", String(Boolean(empty || this.#held || this.closedBy)));
    this.draft?.write(this.box.value);
    if (this.draft) this.draft.files = this.tray.parts.length;
  }

  #send() {
    const text = this.box.value;
    const { parts } = this.tray;
    if (!text.trim() && !parts.length) return;
    const why = this.closedBy ?? (this.#held ? STILL_WRITTEN : this.tray.reading ? STILL_READ : null);
    if (why) this.refuse(why);
    else if (this.take(text, parts)) this.#emptied();
  }

  #emptied() {
    this.box.value = "";
    this.tray.clear();
    say(this.refusal, "");
    this.#typed();
    this.fit();
  }
}
