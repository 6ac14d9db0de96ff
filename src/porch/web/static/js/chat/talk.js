/** A conversation and what goes on in it: loads, sends, follows, stops. It knows nothing of the page it is shown on. */

import { newIdempotencyKey } from "../client/client.js";
import { RunState } from "../client/run-state.js";
import { ConversationTabs } from "../client/tabs.js";
import { filesOf, inputOf } from "./attachments.js";
import { RunRecords } from "./records.js";
import { Thread } from "./thread.js";

const PAGE = 50;
const ALL = 200;
const NEWEST = 8;

/**
 * One conversation.
 *
 * Dispatches "change" (the turns differ), "stream" ({detail: event}: more of the answer), "began"
 * ({detail: {id}}: the conversation exists now), "about" ({detail: what the server says of it}), "ended" ({detail: {state}}), "fault" ({detail: {error, text?, files?}}:
 * a request failed; `text` and `files` are a message that was not taken), "connection" ({detail: {state}}) and "clear"
 * (what was wrong is over; {detail: "found"} when the server was asked and answered).
 */
export class Talk extends EventTarget {
  constructor({ client, agent, conversation, draft, guest = false }) {
    super();
    this.guest = guest; // one who may not move the conversation's head: which branch is shown stays here
    this.switched = false;
    this.client = client;
    this.agent = agent;
    this.conversation = conversation;
    this.draft = draft;
    this.thread = new Thread();
    this.live = null; // the run that is followed: {key, run, state, feed, pending}
    this.runs = new Map(); // RunState or a run's record, by run
    this.unanswered = new Map(); // the run that was the answer to a message and left none, by message
    this.records = new RunRecords(this.runs, this.unanswered, { guest });
    this.closing = new AbortController();
    this.loading = false;
    this.moves = 0; // branches chosen here: what was asked before one knows an older head
    if (conversation) this.#join();
  }

  get answering() {
    return this.live !== null;
  }

  close() {
    this.closing.abort();
    this.live?.feed?.close();
    this.tabs?.close();
  }

  // -- what is there

  /** Load what is newest, and go on with an answer that is being written. */
  async load() {
    if (!this.conversation || this.loading) return;
    this.loading = true;
    try {
      const [about, page] = await Promise.all([this.client.conversation(this.conversation), this.#page({ limit: PAGE })]);
      if (this.closing.signal.aborted) return;
      this.#take(about, page);
      this.thread.cursor = page.next_cursor;
      this.thread.loaded = true;
      this.dispatchEvent(new CustomEvent("clear", { detail: "found" }));
      if (about.active_run) this.#followShared(about.active_run);
      await this.#lookAtEnds();
      this.#changed();
    } catch (error) {
      this.#fault(error);
    } finally {
      this.loading = false;
    }
  }

  /** Load older messages. Answers whether there are more. */
  async older() {
    if (this.thread.cursor === null || this.loading) return false;
    this.loading = true;
    try {
      const page = await this.#page({ limit: this.thread.goesOn ? PAGE : ALL, cursor: this.thread.cursor });
      this.thread.add(page.items);
      this.thread.cursor = page.next_cursor;
      await this.#lookAtEnds();
      return page.next_cursor !== null;
    } catch (error) {
      this.#fault(error);
      return false;
    } finally {
      this.loading = false;
    }
  }

  /** Take up what others did meanwhile: another tab, browser or program. */
  async refresh() {
    if (!this.conversation) return;
    if (!this.thread.loaded) return this.load();
    const { moves } = this;
    try {
      const [about, page] = await Promise.all([this.client.conversation(this.conversation), this.#page({ limit: NEWEST })]);
      if (this.closing.signal.aborted) return;
      if (this.live) return;
      const joins = page.items.some(({ id }) => this.thread.get(id)) || page.next_cursor === null || !this.thread.messages.size;
      if (!joins) {
        this.thread = new Thread();
        return await this.load();
      }
      this.#take(about, page, moves === this.moves);
      this.dispatchEvent(new CustomEvent("clear", { detail: "found" }));
      if (about.active_run) this.#followShared(about.active_run);
      await this.#lookAtEnds();
      this.#changed();
    } catch (error) {
      this.#fault(error);
    }
  }

  /** What to show, oldest first: {key, role, message?, state?, run?, versions, locked, pending?, last?, question?}. */
  turns() {
    const { live } = this;
    const branch = live?.pending ? (live.pending.base ? this.thread.branch(live.pending.base) : []) : this.thread.branch();
    const turns = [];
    branch.forEach((message, at) => {
      turns.push(message.role === "user" ? this.#userTurn(message) : this.#answerTurn(message));
      const answered = branch[at + 1]?.role === "assistant";
      const run = this.unanswered.get(message.id);
      if (message.role === "user" && !answered && run && run !== live?.run) turns.push(this.#unansweredTurn(message, run));
    });
    if (live) {
      if (live.pending) turns.push({ key: live.pending.key, role: "user", message: live.pending.message, versions: null, locked: true, pending: true });
      turns.push({ key: live.run ? `answer:${live.run}` : "answer:next", role: "assistant", state: live.run ? live.state : null, run: live.run, versions: null, locked: true });
    }
    const last = turns.at(-1);
    if (last) last.last = true;
    return turns;
  }

  /** A run's figures, from its own stream where it is not known already. */
  async figures(run) {
    try {
      const state = new RunState();
      for await (const event of this.client.follow(run, { signal: this.closing.signal })) state.apply(event);
      return state;
    } catch {
      return null;
    }
  }

  // -- what one does

  /**
   * Say something, with `files` as parts. `parent` is the message that it follows; absent, the newest. Answers
   * whether it was taken up.
   */
  send(text, { parent = this.switched ? this.thread.head : undefined, files = [], key = newIdempotencyKey() } = {}) {
    if (this.live) return false;
    const base = parent === undefined ? this.thread.head : parent;
    const message = { id: null, role: "user", parts: [...files, ...(text ? [{ type: "text", text }] : [])], parent: base };
    const pending = { key: `user:${key}`, base, message, text, files };
    this.#begin(async () => {
      if (!this.conversation) await this.#create();
      const input = await inputOf(this.client, text, files);
      return this.client.startRun(this.conversation, input, { ...(parent === undefined ? {} : { parent }), idempotencyKey: key });
    }, pending);
    return true;
  }

  /** Say something else instead of an earlier message; of its pictures and files, `files` go along. */
  edit(id, text, files) {
    const message = this.thread.get(id);
    return this.send(text, { parent: message?.parent ?? null, files: files ?? filesOf(message) });
  }

  /** Answer anew: `turn` is an answer, stored or failed. */
  again(turn) {
    if (this.live) return;
    const asked = turn.message?.parent ?? turn.question;
    const id = turn.message?.id ?? this.thread.answerTo(asked) ?? asked;
    if (!id) return;
    this.thread.head = asked;
    this.unanswered.delete(asked);
    this.#begin(() => this.client.regenerate(this.conversation, id), null);
  }

  /** Show the branch that runs through a message. */
  async show(id) {
    if (this.live) return;
    this.thread.head = this.thread.leaf(id);
    this.moves += 1;
    this.#changed();
    if (this.guest) {
      this.switched = true;
      return this.#lookAtEnds();
    }
    try {
      await this.client.updateConversation(this.conversation, { head: this.thread.head });
      this.moves += 1;
      this.tabs?.announce({ what: "head" });
      await this.#lookAtEnds();
      this.#changed();
    } catch (error) {
      this.#fault(error);
    }
  }

  async stop() {
    const { live } = this;
    if (!live || live.stopping) return;
    live.stopping = true;
    try {
      const run = live.run ?? (await live.feedRun());
      await this.client.cancel(run);
    } catch (error) {
      live.stopping = false;
      // A run that never began has told so already.
      if (this.live === live) this.#fault(error);
    }
  }

  /** Bring back a conversation that was deleted a moment ago. */
  async restore() {
    await this.client.request("POST", `/api/v1/conversations/${encodeURIComponent(this.conversation)}/restore`);
    this.tabs?.announce({ what: "restored" });
    await this.refresh();
  }

  // -- following

  async #create() {
    const { id } = await this.client.createConversation(this.agent, { draft: this.draft });
    this.conversation = id;
    this.thread.loaded = true;
    this.#join();
    this.dispatchEvent(new CustomEvent("began", { detail: { id } }));
  }

  #join() {
    this.tabs = new ConversationTabs(this.conversation);
    this.tabs.addEventListener("run", ({ detail }) => this.#followShared(detail.run));
    this.tabs.addEventListener("change", () => this.refresh());
  }

  /** Start a run and follow it. `start` answers its RunFeed. */
  async #begin(start, pending) {
    const live = (this.live = { run: null, state: new RunState(), pending, feed: null, stopping: false });
    const known = new Promise((resolve, reject) => Object.assign(live, { gotRun: resolve, noRun: reject }));
    known.catch(() => {});
    live.feedRun = () => known;
    this.dispatchEvent(new CustomEvent("clear", { detail: "begun" }));
    this.#changed();
    try {
      const feed = await start();
      live.feed = this.tabs.share(this.client, feed, { signal: this.closing.signal });
      await this.#read(live);
    } catch (error) {
      live.noRun(error);
      // Taken up or not: a message that has no run is given back to whoever wrote it.
      this.#broke(live, error, live.run || !pending ? {} : { text: pending.text, files: pending.files });
    }
  }

  async #followShared(run) {
    if (this.live?.run === run || (this.live && !this.live.run) || this.#isOver(run)) return;
    this.live?.feed?.close();
    const live = (this.live = { run, state: new RunState(), pending: null, feed: null, stopping: false, feedRun: async () => run });
    live.feed = this.tabs.followShared(this.client, run, { signal: this.closing.signal });
    this.#changed();
    try {
      await this.#read(live);
    } catch (error) {
      this.#broke(live, error);
    }
  }

  /** It cannot be followed any further; what came of the answer stays in sight. */
  #broke(live, error, more = {}) {
    if (this.live !== live) return;
    this.live = null;
    const { state } = live;
    if (state.message) {
      state.leave();
      this.runs.set(state.run, state);
      this.unanswered.set(state.message, state.run);
    }
    this.#fault(error, more);
    this.#changed();
  }

  async #read(live) {
    for await (const event of live.feed) {
      if (this.live !== live) return;
      live.state.apply(event);
      if (event.type === "connection") this.dispatchEvent(new CustomEvent("connection", { detail: event }));
      else if (event.type === "run.started") await this.#started(live, event);
      this.dispatchEvent(new CustomEvent("stream", { detail: event }));
    }
    if (this.live === live && !this.closing.signal.aborted) await this.#settle(live);
  }

  async #started(live, event) {
    live.run = event.run;
    live.gotRun?.(event.run);
    if (live.pending) {
      const { message, key, base } = live.pending;
      this.thread.add([{ ...message, id: event.message, parent: base, run: event.run, key }]);
      live.pending = null;
    } else if (!this.thread.get(event.message)) {
      // Said elsewhere: this tab has yet to see the message.
      const page = await this.#page({ limit: NEWEST }).catch(() => null);
      if (page) this.thread.add(page.items);
    }
    if (this.thread.get(event.message)) this.thread.head = event.message;
    this.#changed();
  }

  async #settle(live) {
    const { state, run } = live;
    this.live = null;
    this.runs.set(run, state);
    if (state.message) this.unanswered.set(state.message, run);
    this.dispatchEvent(new CustomEvent("ended", { detail: { state } }));
    this.#changed();
    // Ids of what was kept of it, and whatever else happened meanwhile.
    await this.refresh();
  }

  /** How the shown answers ended, which their messages do not tell. */
  async #lookAtEnds() {
    await this.records.fetch(this.client, this.conversation, () => (this.closing.signal.aborted ? [] : this.#untold()));
  }

  /** The shown answers, and messages without one, of whose runs nothing is known. */
  #untold() {
    const branch = this.thread.branch();
    const runs = branch.filter(({ role }, at) => role === "assistant" || branch[at + 1]?.role !== "assistant").map(({ run }) => run);
    return runs.filter((run) => run && run !== this.live?.run && !this.runs.has(run));
  }

  #isOver(run) {
    const known = this.runs.get(run);
    return Boolean(known?.endedAt ?? known?.finished_at);
  }

  // -- small things

  #page({ limit, cursor }) {
    return this.client.messages(this.conversation, { limit, cursor, order: "newest" });
  }

  #take(about, page, moves = true) {
    this.thread.add(page.items);
    // The messages know better than what broke off.
    for (const [run, { status }] of this.runs) if (status === "lost") this.runs.delete(run);
    for (const [message, run] of this.unanswered) if (!this.runs.has(run)) this.unanswered.delete(message);
    this.title = about.title;
    this.agent ||= about.agent;
    // A branch that was chosen here is shown until the conversation goes on.
    this.switched &&= about.head === this.head;
    this.head = about.head;
    if (moves && !this.switched) this.thread.head = about.head;
    this.dispatchEvent(new CustomEvent("about", { detail: about }));
  }

  #userTurn(message) {
    return { key: message.key ?? message.id, role: "user", message, versions: this.#versions(message.id), locked: this.answering };
  }

  #answerTurn(message) {
    const known = this.#known(message.run);
    return { key: message.run ? `answer:${message.run}` : message.id, role: "assistant", message, run: message.run, question: message.parent, versions: this.#versions(message.id), locked: this.answering, ...known };
  }

  #unansweredTurn(question, run) {
    return { key: `answer:${run}`, role: "assistant", run, question: question.id, versions: null, locked: this.answering, message: { parts: [], parent: question.id, id: null, run }, ...this.#known(run) };
  }

  #known(run) {
    const known = this.runs.get(run);
    if (!known) return {};
    return known instanceof RunState ? { state: known } : { record: known };
  }

  #versions(id) {
    const ids = this.thread.siblings(id);
    return ids.length > 1 ? { ids, index: ids.indexOf(id) } : null;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #fault(error, more = {}) {
    if (this.closing.signal.aborted) return;
    this.dispatchEvent(new CustomEvent("fault", { detail: { error, ...more } }));
  }
}
