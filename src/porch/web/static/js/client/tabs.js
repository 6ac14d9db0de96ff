/**
 * Several tabs on one conversation, in step: one tab per browser holds a run's stream and lets the others read along.
 *
 * Who holds the run's Web Lock leads; when that tab goes, the next one takes over from its own place. Browsers allow
 * six connections a host, so tabs must not each hold a stream. Where there are no locks, each tab reads for itself.
 */
import { PorchError } from "./error.js";

const ANSWER_MS = 2_000;
const SILENCE_MS = 20_000;
const FAREWELL_MS = 10_000;
const TERMINAL = new Set(["run.finished", "run.failed", "run.cancelled"]);

/** @typedef {import("./feed.js").RunFeed} RunFeed */
/** @typedef {import("./feed.js").RunEvent} RunEvent */
/** @typedef {import("./client.js").PorchClient} PorchClient */

/**
 * The tabs of one conversation. Dispatches "run" ({detail: {run}}) when another tab began one, and "change"
 * ({detail}) for what another tab announced.
 */
export class ConversationTabs extends EventTarget {
  #channel;
  #id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #feeds = /** @type {Map<string, Set<SharedFeed>>} */ (new Map());

  /** @param {string} conversationId */
  constructor(conversationId) {
    super();
    this.conversation = conversationId;
    this.#channel = new BroadcastChannel(`porch-conversation:${conversationId}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
  }

  /**
   * Follow a run together with the other tabs. Iterates like a RunFeed.
   * @param {PorchClient} client
   * @param {string} run
   * @param {{after?: string|null, signal?: AbortSignal|null}} [options]
   * @returns {SharedFeed}
   */
  followShared(client, run, { after = null, signal = null } = {}) {
    return new SharedFeed(this, (cursor) => client.follow(run, { after: cursor }), { run, after, signal });
  }

  /**
   * Let the other tabs follow what this one begins: `tabs.share(client, client.startRun(…))`.
   * @param {PorchClient} client
   * @param {RunFeed} feed not iterated yet
   * @param {{signal?: AbortSignal|null}} [options]
   * @returns {SharedFeed}
   */
  share(client, feed, { signal = null } = {}) {
    return new SharedFeed(this, (cursor) => client.follow(/** @type {string} */ (feed.run), { after: cursor }), { feed, signal });
  }

  /** Tell the other tabs that something changed: a title, a head, a deletion. @param {object} detail plain data */
  announce(detail) {
    this.#post({ kind: "change", detail });
  }

  /** Leave. Feeds end. */
  close() {
    for (const feeds of this.#feeds.values()) for (const feed of [...feeds]) feed.close();
    this.#channel.onmessage = null;
    this.#channel.close();
  }

  _enter(run, feed) {
    const feeds = this.#feeds.get(run) ?? new Set();
    this.#feeds.set(run, feeds.add(feed));
  }

  _leave(run, feed) {
    this.#feeds.get(run)?.delete(feed);
  }

  _say(run, kind, more) {
    this.#post({ kind, run, ...more });
  }

  #post(message) {
    try {
      this.#channel.postMessage({ ...message, from: this.#id });
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "InvalidStateError")) throw error; // closed
    }
  }

  #hear(message) {
    if (message.to && message.to !== this.#id) return;
    if (message.kind === "change") this.dispatchEvent(new CustomEvent("change", { detail: message.detail }));
    else if (message.kind === "run") this.dispatchEvent(new CustomEvent("run", { detail: { run: message.run } }));
    else for (const feed of [...(this.#feeds.get(message.run) ?? [])]) feed._hear(message);
  }
}

/** A run's events, read here or in another tab: like RunFeed, in order, dense, each once. */
export class SharedFeed {
  /** @type {string|null} */
  run = null;
  cursor = { epoch: 0, seq: 0 };
  #tabs;
  #follow;
  #source = /** @type {RunFeed|null} */ (null);
  #leading = false;
  #readers = /** @type {Set<string>} */ (new Set());
  #journal = /** @type {RunEvent[]} */ ([]);
  #inbox = /** @type {RunEvent[]} */ ([]);
  #error = /** @type {unknown} */ (null);
  #pumping = false;
  #ended = false;
  #closed = false;
  #wake = () => {};
  #silence = 0;
  #candidacy = /** @type {AbortController|null} */ (null);

  /**
   * @param {ConversationTabs} tabs
   * @param {(cursor: string|null) => RunFeed} follow
   * @param {{run?: string|null, feed?: RunFeed|null, after?: string|null, signal?: AbortSignal|null}} options
   */
  constructor(tabs, follow, { run = null, feed = null, after = null, signal = null }) {
    this.#tabs = tabs;
    this.#follow = follow;
    this.#source = feed;
    this.run = run;
    if (after) {
      const [epoch, seq] = after.split("-").map(Number);
      this.cursor = { epoch, seq };
    }
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  /** Let go; the run goes on, and another tab leads. */
  close() {
    this.#closed = true;
    this.#inbox = [];
    this.#end();
  }

  async *[Symbol.asyncIterator]() {
    if (this.#ended) return;
    const away = () => this.#stepDown();
    const back = () => this.#begin();
    globalThis.addEventListener("pagehide", away);
    globalThis.addEventListener("pageshow", back);
    try {
      this.#begin();
      while (this.#inbox.length || !this.#ended) {
        const events = this.#inbox;
        this.#inbox = [];
        for (const event of events) {
          if (this.#closed) return;
          yield event;
        }
        if (!this.#inbox.length && !this.#ended) await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
      }
      if (this.#error && !this.#closed) throw this.#error;
    } finally {
      globalThis.removeEventListener("pagehide", away);
      globalThis.removeEventListener("pageshow", back);
      if (!this.#ended) this.close();
    }
  }

  _hear(message) {
    if (message.kind === "join") this.#answer(message);
    else if (message.kind === "left") this.#miss(message.from);
    if (this.#source || this.#ended) return;
    if (message.kind === "leading") this.#join();
    else if (message.kind === "unable") this.#readHere();
    else if (message.kind === "events") {
      this.#expect(SILENCE_MS);
      for (const event of message.events) if (!this.#take(event)) return this.#join();
    }
  }

  #begin() {
    if (this.#ended || this.#candidacy) return;
    if (this.#source && !this.#pumping) this.#pump(this.#source);
    if (this.run !== null) this.#enter();
  }

  #enter() {
    const run = /** @type {string} */ (this.run);
    this.#tabs._enter(run, this);
    this.#candidacy = new AbortController();
    if (!navigator.locks) {
      if (!this.#source) this.#readHere();
      return;
    }
    if (!this.#source) this.#join();
    navigator.locks
      .request(`porch-run:${run}`, { signal: this.#candidacy.signal }, () => this.#lead())
      .catch((error) => {
        if (error?.name !== "AbortError" && !this.#source) this.#readHere();
      });
  }

  /** Hold the lock until this feed ends. */
  async #lead() {
    if (this.#ended) return;
    const { signal } = /** @type {AbortController} */ (this.#candidacy);
    this.#leading = true;
    this.#tabs._say(this.run, "leading");
    if (!this.#source) this.#readHere();
    await new Promise((resolve) => (signal.aborted ? resolve(undefined) : signal.addEventListener("abort", resolve, { once: true })));
    this.#leading = false;
  }

  #readHere() {
    clearTimeout(this.#silence);
    const { epoch, seq } = this.cursor;
    this.#source = this.#follow(seq ? `${epoch}-${seq}` : null);
    this.#pump(this.#source);
  }

  async #pump(feed) {
    this.#pumping = true;
    try {
      for await (const event of feed) {
        if (this.run === null && feed.run) {
          this.run = feed.run;
          this.#enter();
          this.#tabs._say(this.run, "run");
        }
        this.#take(event);
      }
      if (this.#source === feed) this.#end();
    } catch (error) {
      if (this.#source !== feed) return;
      this.#error = error instanceof PorchError ? error : PorchError.unreachable(error);
      this.#end();
    }
  }

  /** Take one event in; false when others are missing before it. */
  #take(event) {
    if (event.type === "stream.resync") {
      this.#forget(event.keep_through);
    } else if (event.seq !== undefined) {
      // Another producer wrote this place anew while nobody told us.
      if (event.seq <= this.cursor.seq && event.epoch > this.cursor.epoch) {
        this.#take({ type: "stream.resync", reason: "takeover", keep_through: event.seq - 1 });
      }
      if (event.seq <= this.cursor.seq) return true;
      if (event.seq > this.cursor.seq + 1) return false;
      this.cursor = { epoch: event.epoch, seq: event.seq };
      this.#journal.push(event);
    }
    this.#inbox.push(event);
    this.#wake();
    if (this.#leading && this.#readers.size) this.#tabs._say(this.run, "events", { events: [event] });
    if (!this.#source && (TERMINAL.has(event.type) || event.type === "run.paused")) this.#end();
    return true;
  }

  #forget(keep) {
    this.cursor = { epoch: this.cursor.epoch, seq: Math.min(this.cursor.seq, keep) };
    while (this.#journal.length && this.#journal[this.#journal.length - 1].seq > keep) this.#journal.pop();
  }

  #join() {
    this.#tabs._say(this.run, "join", { after: this.cursor.seq });
    this.#expect(ANSWER_MS);
  }

  /** A leader that says nothing for so long is asked, and one that does not answer is not waited for. */
  #expect(milliseconds) {
    clearTimeout(this.#silence);
    const silent = () => {
      if (this.#ended || this.#source) return;
      if (milliseconds === SILENCE_MS) this.#join();
      else this.#readHere();
    };
    this.#silence = setTimeout(silent, milliseconds);
  }

  #answer({ from, after }) {
    if (!this.#leading) return;
    const first = this.#journal[0]?.seq ?? this.cursor.seq + 1;
    if (after + 1 < first) {
      this.#tabs._say(this.run, "unable", { to: from });
      return;
    }
    this.#readers.add(from);
    this.#tabs._say(this.run, "events", { to: from, events: this.#journal.slice(Math.max(after + 1 - first, 0)) });
  }

  #miss(reader) {
    if (this.#readers.delete(reader) && this.#ended && !this.#readers.size) this.#stepDown();
  }

  #stepDown() {
    const entered = this.#candidacy !== null;
    this.#candidacy?.abort();
    this.#candidacy = null;
    this.#leading = false;
    this.#readers.clear();
    clearTimeout(this.#silence);
    if (this.run === null) return;
    this.#tabs._leave(this.run, this);
    if (entered) this.#tabs._say(this.run, "left");
    this.#source?.close();
    this.#source = null;
    this.#pumping = false;
  }

  #end() {
    this.#ended = true;
    this.#source?.close();
    if (this.#leading && this.#readers.size && !this.#error && !this.#closed) this.#bidFarewell();
    else this.#stepDown();
    this.#wake();
  }

  /** Whoever got the lock before its copy of the end would ask the server for it: the lock is held until all have it. */
  #bidFarewell() {
    const leave = () => this.#stepDown();
    clearTimeout(this.#silence);
    this.#silence = setTimeout(leave, FAREWELL_MS);
    const { signal } = /** @type {AbortController} */ (this.#candidacy);
    globalThis.addEventListener("pagehide", leave, { signal });
  }
}
