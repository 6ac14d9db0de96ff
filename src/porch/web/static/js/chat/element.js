/** `<porch-chat>` itself: what it shows, what it hears, what one can do in it. Its attributes are told in `porch-chat.js` and `embed.js`. */

import { newIdempotencyKey } from "../client/client.js";
import { CHOOSE_AGAIN } from "./attachments.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { tooLong } from "./controls.js";
import { copyText } from "./copy.js";
import { eachFrame, make } from "./dom.js";
import { Draft, OnTheWay } from "./drafts.js";
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
    if (!this.opening) return this.#send(text);
    this.composer.put(text);
    return this.#wait();
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
    this.#letGo();
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
    this.onTheWay = new OnTheWay();
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

  /** What is said before the conversation is there waits in the box: whether it waits for an answer is not known yet. */
  async #load() {
    this.opening = false;
    this.early = null;
    if (this.talk.conversation) {
      const { talk } = this;
      this.opening = true;
      await talk.look();
      if (this.talk !== talk) return;
      this.opening = false;
    }
    if (this.early !== null) this.composer.refuse("");
    this.#giveBack();
    this.#changed();
    // What stands there otherwise now was not what was sent.
    if (this.early === this.composer.text && !this.status.kind) this.composer.submit();
  }

  #wait() {
    this.early = this.composer.text;
    return this.composer.refuse("Your message is sent as soon as the conversation is here.");
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
    on("taken", ({ detail }) => this.#letGo(detail.key));
    on("began", ({ detail }) => this.#began(detail.id));
    on("about", ({ detail }) => this.page?.follow(talk.conversation, detail.title));
    on("people", ({ detail }) => this.page?.greet(detail));
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
    else if (this.talk.conversation && !this.talk.answering && this.status.kind !== "gone") await this.talk.look();
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
    if (event.type === "run.started") this.page?.follow(this.talk.conversation);
    this.announcer.hear(event);
    this.frame();
  }

  #began(id) {
    // A page that is reloaded just now comes back at its old address.
    this.#draftOf(null).held = this.onTheWay.lasting.map((message) => ({ ...message, conversation: id }));
    this.#keep();
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
    if (state.status === "paused") this.announcer.announce(state.reason === "quota" ? "The answer waits for quota." : "The answer waits for a decision.");
    this.dispatchEvent(new CustomEvent("porch:answer", { bubbles: true, composed: true, detail: { status: state.status } }));
  }

  #failed({ error, text, files }) {
    if (this.host.isForgotten(error, this.talk)) return this.#beginAnew(text === undefined ? this.talk.live?.pending : { text, files });
    this.status.silence();
    const kind = this.status.fault(error, { resend: Boolean(text || files?.length) });
    this.onTheWay.giveBack(text ?? "", files ?? []);
    if (text) this.composer.put(text);
    if (files?.length) this.composer.attach(files);
    this.#draftOf(null).held = [];
    this.composer.closed = kind === "gone" ? this.host.gone : null;
    if (kind === "busy") this.talk.look();
    this.page?.follow(this.talk.conversation);
  }

  // -- doing

  #send(text, files = []) {
    const refusal = tooLong(text);
    if (refusal) return this.composer.refuse(refusal);
    if (this.opening) return this.#wait();
    return this.#say({ text, files, key: this.onTheWay.keyOf(text, files) ?? newIdempotencyKey(), edits: null });
  }

  #say(said) {
    const { edits, ...message } = said;
    if (!(edits ? this.talk.edit(edits, message) : this.talk.send(message))) return false;
    this.onTheWay.add({ ...said, after: this.talk.thread.last });
    this.#keep();
    this.transcript.toEnd();
    return true;
  }

  /** It arrived, or, without a key, all that was said is left behind. */
  #letGo(key) {
    if (key === undefined) this.onTheWay = new OnTheWay();
    else if (!this.onTheWay.remove(key)) return;
    this.#keep();
    this.#draftOf(null).held = [];
  }

  #keep() {
    this.#draft().held = this.onTheWay.lasting;
  }

  /** Give back what was on its way when the page went away, unless it arrived. */
  #giveBack() {
    const { held } = this.#draft();
    const [{ conversation } = {}] = held;
    if (conversation) return this.#goOn(conversation);
    const { texts, files } = this.onTheWay.restore(held, this.talk.said());
    this.#keep();
    if (texts.length) this.composer.put(texts.join("\n"));
    if (files) this.composer.refuse(CHOOSE_AGAIN);
  }

  /** Go to the conversation that had begun when the page went away. */
  #goOn(id) {
    this.#draftOf(null).held = [];
    this.host.keep(id);
    if (this.page) location.replace(`/chat/${encodeURIComponent(id)}`);
    else this.setAttribute("conversation", id);
  }

  #acts() {
    return {
      edit: (id, text, files) => {
        if (text === undefined) return this.transcript.edit(id);
        if (!this.#say({ text, files, key: newIdempotencyKey(), edits: id })) return false;
        this.composer.focus();
        return true;
      },
      again: (turn) => {
        this.talk.again(turn);
        this.transcript.toEnd();
        this.composer.focus();
      },
      show: (id) => this.#show(id),
      copy: async (text, button) => this.announcer.announce((await copyText(text, button)) ? "Copied." : "The browser did not allow copying."),
      more: () => this.#send("Please go on."),
      withdraw: (run) => this.#withdraw(run),
      fresh: () => this.#fresh(),
      figures: (run) => this.talk.figures(run),
      approval: (id) => this.talk.client.approval(id),
      decide: (...decision) => this.talk.patience.decide(...decision),
    };
  }

  /** What is taken back is written again where it can be changed. */
  async #withdraw(run) {
    const item = await this.talk.withdraw(run);
    if (!item || !this.talk) return;
    this.composer.put(plainText(item.message));
    this.composer.attach(item.files);
    this.composer.focus();
    this.announcer.announce("Your message was taken back. It stands in the box again.");
  }

  #ways() {
    return {
      recheck: () => this.#recheck(),
      restore: this.host.foreign ? null : () => this.#restore(),
      fresh: () => this.#fresh(),
      reload: () => (this.talk.conversation ? this.talk.look() : this.status.clear()),
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
    await this.talk.look();
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
    this.#letGo();
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
    if (this.composer) Object.assign(this.composer, { answering: talk.answering, queues: talk.queues });
    if (this.leave) this.leave.hidden = !talk.conversation;
  }
}
