/** A run's events over connections that come and go: in order, dense, each once, from any place on. */
import { PorchError } from "./error.js";
import { SseDecoder } from "./sse.js";

const API = "/api/v1";
// Three keep-alives that did not come; somebody who looks again waits for one only.
const SILENCE_MS = 45_000;
const STALE_MS = 15_000;
const ANSWER_MS = 60_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const START_ATTEMPTS = 10;
const TERMINAL = new Set(["run.finished", "run.failed", "run.cancelled"]);

/** @typedef {{type: string, seq?: number, epoch?: number, run?: string, [key: string]: any}} RunEvent */
/** @typedef {{path: string, body: unknown, idempotencyKey: string}} Start */

/**
 * Iterate once for what happens: the contract's events, {type: "stream.resync", keep_through} when a reader must
 * forget what came after that seq, and {type: "connection", state: "lost"|"back"} of our own. It ends with the run,
 * its pause, or `close()`, which does not cancel the run.
 *
 * Iterating throws PorchError: what the server refuses, a stream that breaks the contract, and, for a message
 * that could not be delivered, the network. A run that is known is come back to for as long as it takes.
 */
export class RunFeed {
  /** @type {string|null} The run's id, null until the server has taken the message. */
  run;
  /** @type {{epoch: number, seq: number}} The place of the last event that was handed out. */
  cursor;
  /** @type {{epoch: number, seq: number}} The place of the last event that has come. */
  #place;
  #client;
  #start;
  #silence;
  #failures = 0;
  #pause = 0;
  #lost = false;
  #paused = false;
  #ended = false;
  #closed = false;
  #queue = /** @type {RunEvent[]} */ ([]);
  #connection = /** @type {AbortController|null} */ (null);
  #reader = /** @type {ReadableStreamDefaultReader<Uint8Array>|null} */ (null);
  #decoder = new SseDecoder();
  #heard = 0;
  #wake = () => {};
  #known = Promise.withResolvers();

  /**
   * @param {import("./client.js").PorchClient} client
   * @param {{run?: string|null, after?: string|null, start?: Start|null, signal?: AbortSignal|null,
   *   silence?: number}} options `start` begins the run; without it `run` is followed. `silence`
   *   is in milliseconds.
   */
  constructor(client, { run = null, after = null, start = null, signal = null, silence = SILENCE_MS }) {
    this.#client = client;
    this.#start = start;
    this.#silence = silence;
    this.cursor = this.#place = parseCursor(after);
    this.run = null;
    this.#known.promise.catch(() => {});
    this.#name(run);
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  /** The run's id, once there is one; rejects when the feed ends without. @returns {Promise<string>} */
  known() {
    return this.#known.promise;
  }

  /** Let go of the connection; the run goes on. */
  close() {
    this.#closed = true;
    this.#ended = true;
    this.#queue = [];
    this.#drop();
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    const look = () => this.#look();
    globalThis.addEventListener?.("online", look);
    globalThis.document?.addEventListener("visibilitychange", look);
    try {
      while (this.#queue.length || !this.#ended) {
        if (this.#queue.length) yield* this.#taken();
        else if (this.#reader) await this.#read(this.#reader);
        else await this.#connect();
      }
    } finally {
      globalThis.removeEventListener?.("online", look);
      globalThis.document?.removeEventListener("visibilitychange", look);
      this.close();
      this.#known.reject(PorchError.unreachable());
    }
  }

  *#taken() {
    const events = this.#queue;
    this.#queue = [];
    for (const event of events) {
      if (this.#closed) return;
      this.cursor = placeAfter(this.cursor, event);
      yield event;
    }
  }

  async #connect() {
    if (this.#pause) await this.#sleep(this.#pause);
    if (this.#ended) return;
    const connection = new AbortController();
    this.#connection = connection;
    const limit = setTimeout(() => connection.abort(), ANSWER_MS);
    try {
      const response = await this.#request(connection.signal);
      if (response.ok) await this.#open(response);
      else throw await PorchError.of(response);
    } catch (error) {
      if (this.#ended) return;
      const failure = error instanceof PorchError ? error : PorchError.unreachable(error);
      if (!failure.passing) throw failure;
      this.#lose(failure);
    } finally {
      clearTimeout(limit);
    }
  }

  #request(signal) {
    const headers = { Accept: "text/event-stream" };
    if (this.run === null) {
      const { path, body, idempotencyKey } = /** @type {Start} */ (this.#start);
      return this.#client.open("POST", path, body, { headers: { ...headers, "Idempotency-Key": idempotencyKey }, signal });
    }
    const { epoch, seq } = this.#place;
    if (seq) headers["Last-Event-ID"] = `${epoch}-${seq}`;
    return this.#client.open("GET", `${API}/runs/${encodeURIComponent(this.run)}/events`, undefined, { headers, signal });
  }

  async #open(response) {
    if (response.status === 204) {
      this.#ended = true;
    } else if (response.headers.get("Content-Type")?.startsWith("text/event-stream") && response.body) {
      this.#decoder = new SseDecoder();
      this.#heard = Date.now();
      this.#reader = response.body.getReader();
      this.#name(response.headers.get("Porch-Run"));
      if (this.#lost) this.#queue.push({ type: "connection", state: "back" });
      this.#lost = false;
    } else {
      // A write that was sent twice is answered by what the first one made.
      const answer = await response.json().catch(() => null);
      if (typeof answer?.run !== "string") throw broken("it answers a message with no run");
      this.#pause = 0;
      this.#name(answer.run);
    }
  }

  async #read(reader) {
    const silence = setTimeout(() => this.#connection?.abort(), this.#silence);
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (!this.#ended) this.#lose(PorchError.unreachable(error));
      return;
    } finally {
      clearTimeout(silence);
    }
    if (this.#ended) return;
    this.#heard = Date.now();
    if (!read.done) this.#takeAll(read.value);
    else if (this.#paused) this.#end();
    else this.#lose(PorchError.unreachable());
  }

  #takeAll(bytes) {
    let frames;
    try {
      frames = this.#decoder.feed(bytes);
    } catch (error) {
      throw broken("its bytes are no events", error);
    }
    for (const frame of frames) if (!this.#ended) this.#take(frame);
  }

  #take(frame) {
    const resync = frame.event === "stream.resync";
    if (!resync && frame.id === null) return;
    const event = parseEvent(frame.data);
    if (resync) {
      this.#place = placeAfter(this.#place, event);
      this.#queue.push(event);
      return;
    }
    const cursor = parseCursor(frame.id);
    if (cursor.seq <= this.#place.seq) return;
    if (cursor.seq > this.#place.seq + 1) throw broken(`it skips from event ${this.#place.seq} to ${cursor.seq}`);
    this.#place = cursor;
    this.#failures = 0;
    this.#pause = 0;
    this.#name(event.run);
    this.#paused = event.type === "run.paused";
    this.#queue.push(event);
    if (TERMINAL.has(event.type)) this.#end();
  }

  #name(run) {
    if (!run || this.run) return;
    this.run = run;
    this.#known.resolve(run);
  }

  #lose(error) {
    this.#drop();
    this.#failures += 1;
    if (this.run === null && this.#failures >= START_ATTEMPTS) throw error;
    const backoff = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
    const asked = Math.min((error.retryAfter ?? 0) * 1000, LONGEST_PAUSE_MS);
    this.#pause = Math.max(backoff * (0.8 + 0.4 * Math.random()), asked);
    this.#lost = true;
    this.#queue.push({ type: "connection", state: "lost", attempt: this.#failures, seconds: this.#pause / 1000, reason: error.message });
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => (clearTimeout(timer), resolve(undefined));
    });
  }

  /** Somebody looks at the page again, or the network is back: a connection that slept is not trusted. */
  #look() {
    if (globalThis.document?.hidden) return;
    if (this.#reader && Date.now() - this.#heard > STALE_MS) this.#connection?.abort();
    this.#wake();
  }

  #end() {
    this.#ended = true;
    this.#drop();
  }

  #drop() {
    this.#connection?.abort();
    this.#connection = null;
    this.#reader = null;
  }
}

function placeAfter(place, event) {
  if (event.type === "stream.resync") return { epoch: place.epoch, seq: Math.min(place.seq, event.keep_through) };
  return event.seq ? { epoch: event.epoch, seq: event.seq } : place;
}

function parseCursor(text) {
  if (!text) return { epoch: 0, seq: 0 };
  const [, epoch, seq] = /^(\d{1,10})-(\d{1,10})$/.exec(text) ?? [];
  if (!seq) throw broken(`${JSON.stringify(String(text).slice(0, 40))} is no place in a stream`);
  return { epoch: Number(epoch), seq: Number(seq) };
}

function parseEvent(data) {
  try {
    const event = JSON.parse(data);
    if (typeof event?.type === "string") return event;
  } catch (error) {
    throw broken("an event is no JSON", error);
  }
  throw broken("an event has no type");
}

function broken(what, cause) {
  const sentence = `The server's stream cannot be read: ${what}. Reload the page; nothing of the answer is lost.`;
  return new PorchError(sentence, { code: "stream_broken", cause });
}
