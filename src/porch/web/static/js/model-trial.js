// One answer of a model, on the spot: its words as they come, how long it took and cost, or what is wrong.

import { SseDecoder } from "./client/sse.js";
import { RunState } from "./client/run-state.js";
import { Announcer } from "./chat/announcer.js";
import { make, say } from "./chat/dom.js";
import { figures } from "./chat/figures.js";
import { TextCleaner, cleanText } from "./markdown/text.js";

const CUT = "The answer broke off before its end: the connection to Porch was lost. Try again.";
const UNREACHED = "Porch could not be reached. Check the connection, or whether the server runs, and try again.";
const SIGNED_OUT = "You are signed out, or this page belongs to an older session. Reload it, sign in, and try again.";

/** Whoever is told "signed out" by a page of another session can do nothing but reload. */
function refusal(status) {
  if (status === 401 || status === 403) return SIGNED_OUT;
  return `The server answered ${status} and did not try the model. Reload the page and try again.`;
}

export class Trial {
  /** Shows itself in `place`, instead of what was there; `asker` is the button that was pressed. */
  constructor(place, asker) {
    this.asker = asker;
    this.state = new RunState();
    this.cleaner = new TextCleaner();
    this.announcer = new Announcer();
    this.announcer.element.className = "visually-hidden";
    this.announcer.element.setAttribute("aria-label", "The answer, read out");
    this.line = make("p", { class: "hint" });
    this.text = make("p", { class: "trial-text", dir: "auto", hidden: true });
    this.stopper = make("button", { class: "button button-small", type: "button", on: { click: () => this.stop() } }, "Stop");
    this.head = make("div", { class: "spread" }, this.line, this.stopper);
    this.element = make("div", { class: "trial" }, this.head, this.text, this.announcer.element);
    this.ending = new AbortController();
    place.replaceChildren(this.element);
  }

  /** Ask `model`; settles when its answer is complete, has failed or was stopped. */
  async run(model) {
    say(this.line, `Asking ${model} …`);
    this.announcer.announce(`Asking ${model}.`);
    try {
      const fault = await this.#follow(model);
      if (fault) this.#fail(fault);
      else this.#succeed();
    } catch (error) {
      if (this.ending.signal.aborted) this.#tell("Stopped.");
      else this.#fail(this.state.seq ? CUT : UNREACHED);
    } finally {
      if (this.stopper.matches(":focus")) this.asker.focus();
      this.stopper.remove();
    }
  }

  stop() {
    this.ending.abort();
  }

  /** Read the stream to its end. Answers a sentence about what went wrong, "" where nothing did. */
  async #follow(model) {
    const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
    const answer = await fetch("/models/test/stream", {
      method: "POST",
      body: new URLSearchParams({ model }),
      headers: { Accept: "text/event-stream", "X-CSRF-Token": token },
      signal: this.ending.signal,
    });
    if (!answer.ok || !answer.headers.get("Content-Type")?.startsWith("text/event-stream")) return refusal(answer.status);
    const decoder = new SseDecoder();
    const reader = answer.body.getReader();
    for (;;) {
      // The place is gone with the page's form when that was saved; so is whoever wanted to know.
      if (!this.element.isConnected) this.stop();
      const { done, value } = await reader.read();
      for (const { data } of done ? decoder.finish() : decoder.feed(value)) this.#take(JSON.parse(data));
      if (this.state.error) return this.state.error.message;
      if (done) return this.took ? "" : CUT;
    }
  }

  #take(event) {
    this.state.apply(event);
    if (event.type === "stream.chunk") {
      this.text.hidden = false;
      this.text.append(this.cleaner.feed(event.delta));
      this.announcer.feed(event.delta);
    }
    if (event.type === "step.finished") this.took = event.ext ?? {};
  }

  #succeed() {
    const { first_token_ms: first, total_ms: total } = this.took;
    // The server's own clock: what the way to this browser takes is not the model's.
    const { model, usage } = this.state;
    const pace = usage && total - first >= 100 ? (usage.output_tokens * 1000) / (total - first) : null;
    const known = { model, usage, created_at: 0, first_token_ms: first, finished_at: total, tokens_per_second: pace };
    const said = this.text.hidden ? "It answered without saying anything. " : "";
    this.#tell(said + figures(known).join(" · "));
  }

  #fail(sentence) {
    this.announcer.finish();
    this.line.remove();
    this.head.append(make("div", { class: "notice notice-danger", role: "alert" }, make("p", { dir: "auto" }, cleanText(sentence))));
    this.element.dataset.ended = "failed";
  }

  #tell(sentence) {
    this.announcer.finish();
    this.announcer.announce(sentence);
    say(this.line, sentence);
    this.element.dataset.ended = "yes";
  }
}
