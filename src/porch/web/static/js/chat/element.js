/** `<porch-chat>` itself: what it shows, what it hears, what one can do in it. Its attributes are told in `porch-chat.js` and `embed.js`. */

import { newIdempotencyKey } from "../client/client.js";
import { CHOOSE_AGAIN, filesOf, sameFiles } from "./attachments.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { tooLong } from "./controls.js";
import { copyText } from "./copy.js";
import { eachFrame, make } from "./dom.js";
import { Draft, lasting } from "./drafts.js";
import { emptyState } from "./empty.js";
import { presetThread } from "./given.js";
import { StatusStrip } from "./status.js";
import { Talk } from "./talk.js";
import { plainText } from "./thread.js";
import { Transcript } from "./transcript.js";

const LOOK_AGAIN_MS = 20_000;
const BROKEN_OFF = new Set(["length", "limit", "content_filter"]);

/** The element without its tag; a kind of it says in `makeHost` where it stands: a `Member` or a `Visitor`. */
export class ChatElement extends HTMLElement {
  static observedAttributes = ["agent", "conversation", "draft"];

  connectedCallback() {
    this.host = this.makeHost();
    if (!this.shadowRoot) {
      this.attachShadow({ mode: "open" });
      this.styles = make("link", { rel: "stylesheet", href: this.host.styles });
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
    this.host = this.makeHost();
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
    this.#restart();
    this.composer.focus();
  }

  focus() {
    this.composer?.focus();
  }

  #restart() {
    this.#stop();
    this.host.keep(null);
    this.removeAttribute("conversation");
    this.#start();
  }

  /** The conversation is out of reach; what was said and written to it meanwhile goes into another. */
  #beginAnew(said) {
    const { text, files } = this.composer;
    const held = this.shadowRoot.activeElement === this.composer.box;
    this.#hold(null);
    this.#draft().write("");
    this.#restart();
    this.composer.put(text);
    this.composer.attach(files);
    if (held) this.composer.focus();
    if (said) this.#send(said.text, said.files);
  }

  // -- building

  #start() {
    const { host, readonly } = this;
    this.talk = new Talk({
      client: host.client,
      agent: this.getAttribute("agent"),
      conversation: readonly ? null : host.conversation,
      draft: this.hasAttribute("draft"),
      guest: host.foreign,
    });
    this.page = host.page;
    this.announcer = new Announcer();
    this.status = new StatusStrip(this.#ways(), (error) => host.fault(error));
    const empty = emptyState(readonly ? [] : host.suggestions, (text) => this.#send(text));
    this.transcript = new Transcript(this.#acts(), () => this.#older(), { readonly, name: host.name, host, empty });
    this.frame = eachFrame(() => this.transcript.grow());
    const chat = make("div", { class: readonly ? "chat readonly" : "chat" }, this.transcript.element, this.announcer.element);
    if (!readonly) chat.append(make("div", { class: "dock" }, this.status.element, this.#compose().element, this.#leave()));
    this.composer?.tray.hearDrops(chat);
    this.shadowRoot.replaceChildren(this.styles, host.around(chat));
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
    this.composer = new Composer({ placeholder: this.getAttribute("placeholder") || this.host.placeholder, onSend: (text, files) => this.#send(text, files), onStop: () => this.talk.stop() });
    this.composer.keepIn(this.#draft());
    return this.composer;
  }

  #draft() {
    return this.#draftOf(this.talk.conversation);
  }

  #draftOf(conversation) {
    return new Draft(conversation ?? `${this.talk.agent}${this.talk.draft ? " (draft)" : ""}`);
  }

  /** Where no page around the chat leads to a new conversation, the chat does. */
  #leave() {
    if (!this.host.foreign) return null;
    this.leave = make("p", { class: "leave", hidden: true }, make("button", { type: "button", class: "link", on: { click: () => this.#fresh() } }, "New conversation"));
    return this.leave;
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
    if (!this.host.foreign) document.addEventListener("keydown", (event) => event.target === document.body && this.#key(event), { signal });
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
    this.#draftOf(null).hold(this.given && { ...lasting(this.given), conversation: id });
    this.#draft().hold(this.given && lasting(this.given));
    this.composer.keepIn(this.#draft());
    this.page?.move(id);
    this.host.keep(id);
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

  #failed({ error, text, files }) {
    if (this.host.isForgotten(error, this.talk)) return this.#beginAnew(text === undefined ? this.talk.live?.pending : { text, files });
    this.status.silence();
    const kind = this.status.fault(error, { resend: Boolean(text || files?.length) });
    if (text) this.composer.put(text);
    if (files?.length) this.composer.attach(files);
    this.#draftOf(null).hold(null);
    this.composer.closed = kind === "gone" ? this.host.gone : null;
    if (kind === "busy") this.talk.refresh();
    this.page?.follow(this.talk.conversation);
  }

  // -- doing

  #send(text, files = []) {
    const refusal = tooLong(text);
    if (refusal) return this.composer.refuse(refusal);
    // The same text given back and sent again is the same message: it counts once.
    const same = this.given?.text === text && sameFiles(this.given.files ?? [], files);
    const key = same ? this.given.key : newIdempotencyKey();
    if (!this.talk.send(text, { key, files })) return false;
    this.#hold({ text, key, files });
    this.transcript.toEnd();
    return true;
  }

  #hold(message) {
    this.given = message;
    this.#draft().hold(message && lasting(message));
    if (!message) this.#draftOf(null).hold(null);
  }

  /** Give back what was on its way when the page went away, unless it arrived. */
  #giveBack() {
    const held = this.#draft().held();
    if (!held) return;
    if (held.conversation) return this.#goOn(held.conversation);
    const said = this.talk.thread.branch().findLast(({ role }) => role === "user");
    const { text, key, count = 0 } = held;
    if (said && plainText(said) === text && filesOf(said).length === count) return this.#hold(null);
    // What was attached is gone with the page, so what is sent next is another message.
    this.given = count ? null : { text, key, files: [] };
    if (count) this.#draft().hold(null);
    this.composer.put(text);
    if (count) this.composer.refuse(CHOOSE_AGAIN);
  }

  /** Go to the conversation that had begun when the page went away. */
  #goOn(id) {
    this.#draftOf(null).hold(null);
    this.host.keep(id);
    if (this.page) location.replace(`/chat/${encodeURIComponent(id)}`);
    else this.setAttribute("conversation", id);
  }

  #acts() {
    return {
      edit: (id, text, files) => {
        if (text === undefined) return this.transcript.edit(id);
        this.given = null;
        this.talk.edit(id, text, files);
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
      restore: this.host.foreign ? null : () => this.#restore(),
      fresh: () => this.#fresh(),
      reload: () => (this.talk.conversation ? this.talk.refresh() : this.status.clear()),
      resend: () => this.composer.submit(),
    };
  }

  async #recheck() {
    if (!(await this.host.signedInAgain())) return;
    this.talk.client = this.host.client;
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

  async #fresh() {
    const { agent } = this.talk;
    // A visitor has one answer at a time: the next would wait for this one.
    if (this.host.foreign && this.talk.answering) await this.talk.stop();
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
    if (this.leave) this.leave.hidden = !talk.conversation;
  }
}
