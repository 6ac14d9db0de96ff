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

import { PorchClient, newIdempotencyKey } from "../client/client.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { tooLong } from "./controls.js";
import { copyText } from "./copy.js";
import { eachFrame, make } from "./dom.js";
import { Draft } from "./drafts.js";
import { emptyState } from "./empty.js";
import { presetThread, suggestionsOf } from "./given.js";
import { ChatPage } from "./page.js";
import { currentCsrf, renewCsrf } from "./session.js";
import { StatusStrip } from "./status.js";
import { Talk } from "./talk.js";
import { plainText } from "./thread.js";
import { Transcript } from "./transcript.js";

const STYLES = new URL("../../css/chat.css", import.meta.url).href;
const LOOK_AGAIN_MS = 20_000;
const GONE = "This conversation is gone. Bring it back or start a new one; your text goes along.";
const BROKEN_OFF = new Set(["length", "limit", "content_filter"]);

export class PorchChat extends HTMLElement {
  static observedAttributes = ["agent", "conversation", "draft"];

  connectedCallback() {
    if (!this.shadowRoot) {
      this.attachShadow({ mode: "open" });
      this.styles = make("link", { rel: "stylesheet", href: STYLES });
      this.styled = new Promise((resolve) => ["load", "error"].forEach((name) => this.styles.addEventListener(name, resolve, { once: true })));
    }
    this.#start();
  }

  disconnectedCallback() {
    this.#stop();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.talk || before === after || (name === "conversation" && after === this.talk.conversation)) return;
    this.#stop();
    this.#start();
  }

  get readonly() {
    return this.hasAttribute("readonly");
  }

  /** Say something, as if typed. */
  send(text) {
    return this.#send(text);
  }

  /** Leave this conversation; the next message begins another. */
  reset() {
    this.#stop();
    this.removeAttribute("conversation");
    this.#start();
    this.composer.focus();
  }

  focus() {
    this.composer?.focus();
  }

  // -- building

  #start() {
    this.talk = new Talk({
      client: this.#client(currentCsrf()),
      agent: this.getAttribute("agent"),
      conversation: this.readonly ? null : this.getAttribute("conversation"),
      draft: this.hasAttribute("draft"),
    });
    this.page = this.hasAttribute("navigates") ? new ChatPage(this) : null;
    this.announcer = new Announcer();
    this.status = new StatusStrip(this.#ways());
    this.name = this.getAttribute("name") || this.getAttribute("agent") || "The agent";
    const empty = emptyState(this.readonly ? [] : suggestionsOf(this), (text) => this.#send(text));
    this.transcript = new Transcript(this.#acts(), () => this.#older(), { readonly: this.readonly, name: this.name, empty });
    this.frame = eachFrame(() => this.transcript.grow());
    const chat = make("div", { class: this.readonly ? "chat readonly" : "chat" }, this.transcript.element, this.announcer.element);
    if (!this.readonly) chat.append(make("div", { class: "dock" }, this.status.element, this.#compose().element));
    this.shadowRoot.replaceChildren(this.styles, chat);
    this.#listen();
    if (this.readonly) this.#preset();
    else this.#load();
    this.loading = Boolean(this.talk.conversation);
    this.#paint();
    this.#unveil(chat);
  }

  /** Nothing is shown before its styles are there. */
  async #unveil(chat) {
    chat.hidden = !this.styles.sheet;
    if (chat.hidden) await this.styled;
    chat.hidden = false;
    if (this.talk && this.#mayTakeFocus()) this.composer.focus();
  }

  /** A page that is there to begin a conversation is one to type in at once; a keyboard on glass would hide it. */
  #mayTakeFocus() {
    const wanted = this.hasAttribute("autofocus") || (this.hasAttribute("navigates") && !this.talk.conversation);
    return wanted && !this.readonly && document.activeElement === document.body && matchMedia("(hover: hover) and (pointer: fine)").matches;
  }

  #stop() {
    this.listening?.abort();
    clearInterval(this.looking);
    this.frame?.cancel();
    this.talk?.close();
    this.transcript?.close();
    this.announcer?.reset();
    this.talk = null;
  }

  #compose() {
    const placeholder = this.getAttribute("placeholder") || (this.getAttribute("agent") ? `Message ${this.name}` : "Message");
    this.composer = new Composer({ placeholder, onSend: (text) => this.#send(text), onStop: () => this.talk.stop() });
    this.composer.keepIn(this.#draft());
    return this.composer;
  }

  #draft() {
    return this.#draftOf(this.talk.conversation);
  }

  #draftOf(conversation) {
    return new Draft(conversation ?? `${this.talk.agent}${this.talk.draft ? " (draft)" : ""}`);
  }

  #client(csrf) {
    return new PorchClient({ base: this.getAttribute("base") ?? "", csrf });
  }

  async #load() {
    if (this.talk.conversation) await this.talk.load();
    if (!this.talk) return;
    this.#giveBack();
    this.#changed();
  }

  #preset() {
    this.talk.thread = presetThread(this);
    this.#changed();
  }

  // -- hearing

  #listen() {
    const { talk } = this;
    this.listening = new AbortController();
    const { signal } = this.listening;
    const on = (name, listener) => talk.addEventListener(name, listener, { signal });
    on("change", () => this.#changed());
    on("clear", ({ detail }) => this.#clear(detail));
    on("stream", ({ detail }) => this.#streamed(detail));
    on("began", ({ detail }) => this.#began(detail.id));
    on("about", ({ detail }) => this.page?.follow(talk.conversation, detail.title));
    on("ended", ({ detail }) => this.#ended(detail.state));
    on("fault", ({ detail }) => this.#failed(detail));
    on("connection", ({ detail }) => this.status.connection(detail.state, Boolean(talk.live?.run)));
    this.addEventListener("keydown", (event) => this.#key(event), { signal });
    document.addEventListener("keydown", (event) => event.target === document.body && this.#key(event), { signal });
    if (this.readonly) return;
    const look = () => document.visibilityState === "visible" && this.#look();
    document.addEventListener("visibilitychange", look, { signal });
    window.addEventListener("focus", look, { signal });
    window.addEventListener("pageshow", (event) => event.persisted && look(), { signal });
    this.looking = setInterval(look, LOOK_AGAIN_MS);
  }

  #key(event) {
    if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || !this.talk?.answering) return;
    event.preventDefault();
    this.talk.stop();
  }

  /** See what happened elsewhere while nobody looked here. */
  async #look() {
    if (this.status.kind === "signed-out") await this.#recheck();
    else if (this.talk.conversation && !this.talk.answering && this.status.kind !== "gone") await this.talk.refresh();
  }

  #clear(why) {
    // That others were first is true until their answer has ended, however often one looks.
    if (why === "found" && this.status.kind === "busy") return;
    this.status.clear();
    if (this.composer) this.composer.closed = null;
  }

  #changed() {
    this.loading = false;
    this.#paint();
  }

  #streamed(event) {
    if (event.type !== "stream.chunk") this.#tell(event);
    else if (this.spoken?.has(event.part)) this.announcer.feed(event.delta);
    this.frame();
  }

  /** What is read out besides the words. */
  #tell(event) {
    if (event.type === "run.started") {
      this.#hold(null);
      this.page?.follow(this.talk.conversation);
    } else if (event.type === "part.started") {
      if (event.kind === "reasoning") this.announcer.announce("Thinking.");
      else (this.spoken ??= new Set()).add(event.part);
    } else if (event.type === "tool_call.started") this.announcer.announce(`Using the tool ${event.name}.`);
    else if (event.type === "stream.resync" || event.type === "step.discarded") this.announcer.reset();
  }

  #began(id) {
    // A page that is reloaded just now comes back at its old address.
    this.#draftOf(null).hold(this.given && { ...this.given, conversation: id });
    this.#draft().hold(this.given);
    this.composer.keepIn(this.#draft());
    this.page?.move(id);
    this.setAttribute("conversation", id);
    this.dispatchEvent(new CustomEvent("porch:conversation", { bubbles: true, composed: true, detail: { id } }));
  }

  #ended(state) {
    this.announcer.finish();
    this.status.quiet();
    if (this.status.kind === "busy") this.status.clear();
    // One that broke off has a notice of its own, which is read out.
    if (state.status === "finished" && !BROKEN_OFF.has(state.reason)) this.announcer.announce("The answer is complete.");
    if (state.status === "cancelled") this.announcer.announce("The answer was stopped.");
    this.dispatchEvent(new CustomEvent("porch:answer", { bubbles: true, composed: true, detail: { status: state.status } }));
  }

  #failed({ error, text }) {
    this.status.silence();
    const kind = this.status.fault(error, { resend: Boolean(text) });
    if (text) this.composer.put(text);
    this.#draftOf(null).hold(null);
    this.composer.closed = kind === "gone" ? GONE : null;
    if (kind === "busy") this.talk.refresh();
    this.page?.follow(this.talk.conversation);
  }

  // -- doing

  #send(text) {
    const refusal = tooLong(text);
    if (refusal) return this.composer.refuse(refusal);
    // The same text given back and sent again is the same message: it counts once.
    const key = this.given?.text === text ? this.given.key : newIdempotencyKey();
    if (!this.talk.send(text, { key })) return false;
    this.#hold({ text, key });
    this.transcript.toEnd();
    return true;
  }

  #hold(message) {
    this.given = message;
    this.#draft().hold(message);
    if (!message) this.#draftOf(null).hold(null);
  }

  /** Give back what was on its way when the page went away, unless it arrived. */
  #giveBack() {
    const held = this.#draft().held();
    if (!held) return;
    if (held.conversation) return this.#goOn(held.conversation);
    const said = this.talk.thread.branch().findLast(({ role }) => role === "user");
    if (said && plainText(said) === held.text) return this.#hold(null);
    this.given = held;
    this.composer.put(held.text);
  }

  /** Go to the conversation that had begun when the page went away. */
  #goOn(id) {
    this.#draftOf(null).hold(null);
    if (this.page) location.replace(`/chat/${encodeURIComponent(id)}`);
    else this.setAttribute("conversation", id);
  }

  #acts() {
    return {
      edit: (id, text) => {
        if (text === undefined) return this.transcript.edit(id);
        this.given = null;
        this.talk.edit(id, text);
        this.transcript.toEnd();
        this.composer.focus();
      },
      again: (turn) => {
        this.talk.again(turn);
        this.transcript.toEnd();
        this.composer.focus();
      },
      show: (id) => this.#show(id),
      copy: async (text, button) => this.announcer.announce((await copyText(text, button)) ? "Copied." : "The browser did not allow copying."),
      more: () => this.#send("Please go on."),
      fresh: () => this.#fresh(),
      figures: (run) => this.talk.figures(run),
    };
  }

  #ways() {
    return {
      recheck: () => this.#recheck(),
      restore: () => this.#restore(),
      fresh: () => this.#fresh(),
      reload: () => (this.talk.conversation ? this.talk.refresh() : this.status.clear()),
      resend: () => this.composer.submit(),
    };
  }

  async #recheck() {
    const csrf = await renewCsrf(this.getAttribute("base") ?? "");
    if (!csrf) return;
    this.talk.client = this.#client(csrf);
    this.status.clear();
    this.announcer.announce("Signed in again.");
    // What was cut off is drawn anew: whoever was at its end is to stay there.
    const { following } = this.transcript.keeper;
    await this.talk.refresh();
    if (following && this.talk) this.transcript.toEnd();
  }

  async #restore() {
    try {
      await this.talk.restore();
    } catch (error) {
      this.#failed({ error });
    }
  }

  /** The other version stands in an element of its own: the focus goes with it. */
  #show(id) {
    const after = this.shadowRoot.activeElement?.dataset.way === "after";
    this.talk.show(id);
    for (const { versions } of this.transcript.views.values()) if (versions.has(id)) versions.focus(after);
  }

  #fresh() {
    const { agent } = this.talk;
    // What was written to go on with goes on there.
    const { text } = this.composer;
    this.#hold(null);
    this.#draft().write("");
    if (text) this.#draftOf(null).write(text);
    if (this.page && agent) location.assign(`/${agent}`);
    else this.reset();
  }

  async #older() {
    await this.talk.older();
    return () => this.#paint();
  }

  #paint() {
    if (!this.talk) return;
    const { talk } = this;
    this.transcript.show(talk.turns(), { more: talk.thread.cursor !== null, loading: this.loading });
    if (this.composer) this.composer.answering = talk.answering;
  }
}

customElements.define("porch-chat", PorchChat);
