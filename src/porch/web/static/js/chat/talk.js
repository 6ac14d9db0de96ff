/** A conversation and what goes on in it: loads, sends, follows, stops. It knows nothing of the page it is shown on. */

import { newIdempotencyKey } from "../client/client.js";
import { RunState } from "../client/run-state.js";
import { ConversationTabs } from "../client/tabs.js";
import { inputOf } from "./attachments.js";
import { Company } from "./company.js";
import { Looks, readConversation } from "./look.js";
import { Patience } from "./patience.js";
import { RunRecords } from "./records.js";
import { Thread } from "./thread.js";
import { turnsOf } from "./turns.js";
import { Waiting } from "./waiting.js";

const PAGE = 50;
const ALL = 200;
const NEWEST = 8;

/**
 * One conversation.
 *
 * Dispatches "change" (the turns differ), "stream" ({detail: event}: more of the answer), "began" ({detail: {id}}: the
 * conversation exists now), "about" ({detail: what the server says of it}), "taken" ({detail: {key}}: a message is with
 * the server), "ended" ({detail: {state}}), "fault" ({detail: {error, text?, files?}}: a request failed; `text` and `files`
 * are a message that was not taken), "connection" ({detail: {state}}) and "clear" (what was wrong is over; {detail:
 * "found"} when the server was asked and answered, "idle" when moreover nothing is at work there).
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
    this.patience = new Patience(() => this.client, (run) => this.#followShared(run), (run, waits) => this.#told(run, waits));
    this.waiting = new Waiting();
    this.waiting.addEventListener("change", () => this.#changed());
    this.closing = new AbortController();
    this.looks = new Looks(() => this.#see(), (seen) => this.#take(seen));
    this.loading = false;
    this.moving = 0; // branches that are being chosen: the server's head is an older one so long
    this.moved = Promise.resolve();
    if (conversation) this.#join();
  }

  get answering() {
    return this.live !== null && !this.early;
  }

  /** Whether what is followed has yet to begin: it still stands among those that wait. */
  get early() {
    const { live } = this;
    return Boolean(live?.run) && !live.state.message && this.waiting.items.some(({ run }) => run === live.run);
  }

  /** What becomes of a message that is sent now: "queue" or "interrupt" behind an answer, null where it must wait outside. */
  get queues() {
    return (this.live?.run ?? this.patience.run ?? this.waiting.next) && this.conduct !== "reject" ? this.conduct ?? null : null;
  }

  close() {
    this.closing.abort();
    this.live?.feed?.close();
    this.patience.close();
    this.company?.close();
    this.tabs?.close();
  }

  // -- what is there

  /** See what is there and what others did meanwhile, another tab, browser or program; go on with what is being answered. */
  async look() {
    if (!this.conversation) return;
    try {
      await this.looks.begin();
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Load older messages. Answers whether there are more. */
  async older() {
    if (this.thread.cursor === null || this.loading) return false;
    this.loading = true;
    try {
      const page = await this.#page({ limit: this.thread.goesOn ? PAGE : ALL, cursor: this.thread.cursor });
      this.thread.extend(page);
      await this.#lookAtEnds();
      return page.next_cursor !== null;
    } catch (error) {
      this.#fault(error);
      return false;
    } finally {
      this.loading = false;
    }
  }

  /** What to show, oldest first; see `turnsOf`. */
  turns() {
    return turnsOf(this);
  }

  /** What people said, as far as it is known here: on any branch, and what waits. */
  said() {
    const waiting = this.waiting.items.filter(({ run }) => run).map(({ message }) => message);
    return [...this.thread.messages.values(), ...waiting].filter(({ role }) => role === "user");
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
  send({ text, files = [], key = newIdempotencyKey(), parent = this.switched || this.moving ? this.thread.head : undefined }) {
    if (this.queues) return this.#wait({ text, files, key, parent });
    if (this.live) return false;
    const base = parent === undefined ? this.thread.head : parent;
    const message = { id: null, role: "user", parts: [...files, ...(text ? [{ type: "text", text }] : [])], parent: base };
    const pending = { key, message, text, files };
    this.#begin({ base, pending }, async () => {
      if (!this.conversation) await this.#create();
      const input = await inputOf(this.client, text, files);
      return this.client.startRun(this.conversation, input, { ...(parent === undefined ? {} : { parent }), idempotencyKey: key });
    });
    return true;
  }

  /** Take back what waits. Answers {text, files} of it, null where its turn has come. */
  async withdraw(run) {
    try {
      const item = await this.waiting.withdraw(this.client, run);
      this.looks.outdate();
      this.tabs?.announce({ what: "queue" });
      return item;
    } catch (error) {
      this.#fault(error);
      return null;
    }
  }

  /** Say something else instead of an earlier message; `said` is {text, files, key}. */
  edit(id, said) {
    return this.send({ ...said, parent: this.thread.get(id)?.parent ?? null });
  }

  /** Answer anew: `turn` is an answer, stored or failed. */
  again(turn) {
    if (this.live) return;
    const asked = turn.message?.parent ?? turn.question;
    const id = turn.message?.id ?? this.thread.answerTo(asked) ?? asked;
    if (id) this.#begin({ base: asked, asked }, async () => this.client.regenerate(this.conversation, id));
  }

  /** Show the branch that runs through a message. */
  async show(id) {
    if (this.live) return;
    const head = (this.thread.head = this.thread.leaf(id));
    this.#changed();
    if (this.guest) {
      this.switched = true;
      return this.#lookAtEnds();
    }
    this.moving += 1;
    // One after another: the last that was chosen is to stand, and what is said next follows it.
    this.moved = this.moved.then(() => this.#move(head)).finally(() => (this.moving -= 1));
    await this.moved;
    await this.#lookAtEnds();
    this.#changed();
  }

  async #move(head) {
    if (this.thread.head !== head) return;
    try {
      await this.client.updateConversation(this.conversation, { head });
      this.looks.outdate();
      this.tabs?.announce({ what: "head" });
    } catch (error) {
      // Whoever went on meanwhile went on from there.
      if (this.live) return;
      this.#fault(error);
      this.look();
    }
  }

  async stop() {
    const { live } = this;
    // What has not begun is taken back, not stopped.
    if (!this.answering || live.stopping) return;
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
    await this.look();
  }

  // -- looking

  #see() {
    const { thread, waiting, client, conversation } = this;
    return readConversation(client, conversation, { thread, waits: () => waiting.items.length > 0, isOver: (run) => this.#isOver(run) });
  }

  #take({ about, queue }) {
    if (this.closing.signal.aborted) return;
    this.#forgetPassed(about.active_run);
    this.title = about.title;
    this.conduct = about.concurrency;
    this.agent ||= about.agent;
    if (this.company) this.company.open = about.audience === "members";
    // A branch that was chosen here is shown until the conversation goes on.
    this.switched &&= about.head === this.head;
    this.head = about.head;
    if (!this.live && !this.moving && !this.switched) this.thread.head = about.head;
    this.waiting.take(queue, (message) => this.thread.get(message));
    this.dispatchEvent(new CustomEvent("about", { detail: about }));
    this.dispatchEvent(new CustomEvent("clear", { detail: about.active_run || about.waiting ? "found" : "idle" }));
    const next = about.active_run ?? this.waiting.next;
    if (next) this.#followShared(next);
    this.#changed();
    this.#lookAtEnds().then(() => this.#changed());
  }

  /** The messages know better than what broke off, and the records of runs than a pause that is over. */
  #forgetPassed(active) {
    if (this.patience.run !== active) this.patience.close();
    for (const [run, { status }] of this.runs) if (status === "lost" || (status === "paused" && run !== active)) this.records.forget(run);
    for (const [message, run] of this.unanswered) if (!this.runs.has(run)) this.unanswered.delete(message);
  }

  // -- following

  async #create() {
    const { id, concurrency } = await this.client.createConversation(this.agent, { draft: this.draft });
    this.conversation = id;
    this.conduct = concurrency;
    this.thread.loaded = true;
    this.#join();
    this.dispatchEvent(new CustomEvent("began", { detail: { id } }));
  }

  #join() {
    this.tabs = new ConversationTabs(this.conversation);
    this.tabs.addEventListener("run", ({ detail }) => this.#followShared(detail.run));
    this.tabs.addEventListener("change", ({ detail }) => (detail?.what === "people" ? this.#people(detail.people) : this.look()));
    if (this.guest) return;
    this.company = new Company(() => this.client, this.conversation);
    this.company.addEventListener("stir", () => this.#stirred());
    this.company.addEventListener("people", ({ detail }) => {
      this.tabs.announce({ what: "people", people: detail });
      this.#people(detail);
    });
  }

  /** Somebody did something. What is being answered here one sees as it comes. */
  #stirred() {
    this.tabs.announce({ what: "stir" });
    if (!this.live) this.look();
  }

  #people(people) {
    this.dispatchEvent(new CustomEvent("people", { detail: people }));
  }

  /** Send it behind the answer that is being written. */
  #wait(said) {
    this.waiting.send(this.client, this.conversation, said).then(
      ({ run, message }) => {
        this.looks.outdate();
        this.#taken(said.key);
        this.tabs.announce({ what: "queue" });
        // Its turn may have come before that was told.
        if (this.live?.state.message === message || this.thread.get(message)) this.waiting.drop(run);
        if (!this.live) this.look();
      },
      (error) => this.#fault(error, { text: said.text, files: said.files }),
    );
    return true;
  }

  /**
   * Start a run and follow it. `start` answers its RunFeed. It goes on from the message `base`, with what is `pending` or as
   * another answer to the message `asked`.
   */
  async #begin({ base, asked = null, pending = null }, start) {
    const live = (this.live = { run: null, state: new RunState(), base, asked, pending, feed: null, stopping: false });
    this.looks.outdate();
    const known = new Promise((resolve, reject) => Object.assign(live, { gotRun: resolve, noRun: reject }));
    known.catch(() => {});
    live.feedRun = () => known;
    this.dispatchEvent(new CustomEvent("clear", { detail: "begun" }));
    this.#changed();
    try {
      await this.moved;
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
    // What is followed here has an end, and then one looks what comes next.
    if (this.live || this.#isOver(run) || this.patience.holds(run)) return;
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
    this.looks.outdate();
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
    this.looks.outdate();
    const { pending, base } = live;
    const waited = this.waiting.drop(event.run);
    if (pending) this.thread.suppose({ ...pending.message, id: event.message, parent: base, run: event.run, key: `user:${pending.key}` });
    else if (waited) this.thread.suppose({ ...waited.message, parent: this.thread.head, run: event.run, key: waited.key });
    // Said elsewhere: this tab has yet to see the message.
    const page = this.thread.get(event.message) ? null : await this.#page({ limit: NEWEST }).catch(() => null);
    if (page) this.thread.add(page.items);
    if (this.live !== live) return;
    live.pending = null;
    live.base = undefined;
    if (this.thread.get(event.message)) this.thread.head = event.message;
    if (pending) this.#taken(pending.key);
    this.#changed();
    if (waited) this.look(); // where it stands, the server knows
  }

  async #settle(live) {
    const { state, run } = live;
    this.live = null;
    this.looks.outdate();
    this.runs.set(run, state);
    if (state.message) this.unanswered.set(state.message, run);
    if (state.status === "paused") this.patience.begin(run);
    this.dispatchEvent(new CustomEvent("ended", { detail: { state } }));
    this.#changed();
    // Ids of what was kept of it, and whatever else happened meanwhile.
    await this.look();
  }

  /** Until when an answer waits is not in its stream. */
  #told(run, waits) {
    const known = this.runs.get(run);
    if (!known) return;
    known.waits_for = waits;
    this.#changed();
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

  /** What was said is with the server. */
  #taken(key) {
    this.dispatchEvent(new CustomEvent("taken", { detail: { key } }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #fault(error, more = {}) {
    if (this.closing.signal.aborted) return;
    this.dispatchEvent(new CustomEvent("fault", { detail: { error, ...more } }));
  }
}
