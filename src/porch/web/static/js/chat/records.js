/** How answers ended that were not followed here: the records of their runs, asked for as they come into sight. */

const PAGE = 50;
const MOST_PAGES = 4;
const GOES_ON = new Set(["queued", "running", "paused"]);

export class RunRecords {
  /** `runs` (by run) and `unanswered` (a run by its message) are filled; what stands in them is better known. */
  constructor(runs, unanswered, { guest }) {
    this.guest = guest; // one who may ask for runs one by one only
    this.runs = runs;
    this.unanswered = unanswered;
    this.seen = null; // what was asked for: from `newest` down to `cursor`
  }

  /** Ask until `untold()` names no run any more, or all are known. */
  async fetch(client, conversation, untold) {
    try {
      if (this.guest) return await this.#fetchLast(client, untold());
      for (let page = 0; page < MOST_PAGES && untold().length; page += 1) {
        // What began since is asked for from the newest on; what is older, from where the known ones end.
        const newer = !this.seen || untold().some((run) => run > this.seen.newest);
        if (!newer && this.seen.cursor === null) return;
        const found = await client.runs(conversation, { limit: PAGE, cursor: newer ? null : this.seen.cursor });
        this.#note(found, newer);
        this.#take(found.items);
      }
    } catch {
      // The messages are there; only how they ended stays untold.
    }
  }

  /** What is known of a run is no longer true: it is asked for anew. */
  forget(run) {
    this.runs.delete(run);
    this.seen = null;
  }

  /** How the newest answer ended: the one that there is something to do about. */
  async #fetchLast(client, runs) {
    if (runs.length) this.#take([await client.run(runs.at(-1))]);
  }

  #note({ items, next_cursor: cursor }, newer) {
    if (!newer) {
      if (this.seen) this.seen.cursor = cursor;
      return;
    }
    const joins = this.seen && items.some(({ id }) => id <= this.seen.newest);
    // One that has yet to end is asked for again.
    const newest = items[items.findLastIndex(({ status }) => GOES_ON.has(status)) + 1]?.id ?? "";
    this.seen = { newest, cursor: joins ? this.seen.cursor : cursor };
  }

  #take(records) {
    const later = new Set();
    for (const record of records) {
      const { id, status, input_message: asked, output_message: answer } = record;
      const last = !later.has(asked);
      later.add(asked);
      if (GOES_ON.has(status) || this.runs.has(id)) continue;
      this.runs.set(id, record);
      if (last && !answer && status !== "finished" && id > (this.unanswered.get(asked) ?? "")) this.unanswered.set(asked, id);
    }
  }
}
