/** What was said during an answer and waits for its turn: shown below it, taken back, followed when the turn comes. */

import { inputOf } from "./attachments.js";

/** The queue of one conversation, as far as it is known here. Dispatches "change" when what waits differs. */
export class Waiting extends EventTarget {
  constructor() {
    super();
    this.items = []; // {key, run, message, text, files}, in their order; `run` is null while one is being sent
    this.sent = Promise.resolve(); // settled once all that were said so far are in the queue
  }

  /** The run whose turn is next. */
  get next() {
    return this.items.find(({ run }) => run)?.run ?? null;
  }

  /** Turns to show behind the answer. */
  turns() {
    return this.items.map(({ key, run, message }) => ({ key, role: "user", message, run, versions: null, locked: true, waiting: run ? "here" : "sent" }));
  }

  /** Send one into the queue. Answers {run, message}, its ids. */
  async send(client, conversation, { text, files, key, parent }) {
    const message = { id: null, role: "user", parts: [...files, ...(text ? [{ type: "text", text }] : [])] };
    const item = { key: `user:${key}`, run: null, message, text, files };
    this.items.push(item);
    this.#changed();
    // Requests pass each other on their way, and the queue is in the order of their arrival.
    const earlier = this.sent;
    let settle;
    this.sent = new Promise((resolve) => (settle = resolve));
    try {
      const input = await inputOf(client, text, files);
      await earlier;
      const { run, message: id } = await client.enqueue(conversation, input, { idempotencyKey: key, ...(parent === undefined ? {} : { parent }) });
      Object.assign(item, { run, message: { ...message, id } });
      return { run, message: id };
    } catch (error) {
      this.items = this.items.filter((other) => other !== item);
      throw error;
    } finally {
      settle();
      this.#changed();
    }
  }

  /** Take one back, unless its turn has come. Answers it, null where it is too late. */
  async withdraw(client, run) {
    const item = this.items.find((other) => other.run === run);
    const { status } = await client.cancel(run);
    this.drop(run);
    return status === "cancelled" ? item : null;
  }

  /** Its turn came, or it was taken back. Answers what it was, if it waited here. */
  drop(run) {
    const gone = this.items.find((item) => item.run === run);
    if (!gone) return null;
    this.items = this.items.filter((item) => item !== gone);
    this.#changed();
    return gone;
  }

  /** Take up what waits, whoever said it; `has(message)` tells whether one stands in the conversation already. */
  take(queue, has) {
    const known = new Map(this.items.map((item) => [item.run, item]));
    const found = queue
      .filter(({ place, message }) => place !== "answer" && !has(message))
      .map(({ run, message, parts }) => known.get(run) ?? { key: `user:${run}`, run, message: { id: message, role: "user", parts }, text: null, files: [] });
    const sending = this.items.filter(({ run }) => !run);
    const differs = found.length + sending.length !== this.items.length || found.some((item, at) => item !== this.items[at]);
    this.items = [...found, ...sending];
    if (differs) this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
