/** What the server says of a conversation, as of one moment: its answers come late, and pass each other on their way. */

const PAGE = 50;
const NEWEST = 8;
const GAP = 200;
const MOST_READS = 3;

/** Looks at something that changes meanwhile: only what the newest look found is taken up, and nothing from before an act. */
export class Looks {
  #newest = null;
  #outdated = false;

  /** `read()` answers what `take(seen)` takes up. */
  constructor(read, take) {
    this.read = read;
    this.take = take;
  }

  /** Look now. Settled once what this look saw, or one that began after it, was taken up; rejects when that fails. */
  begin() {
    const look = (this.#newest = {});
    look.taken = this.#see(look);
    return look.taken;
  }

  /** Something was done here: what is being read may be from before it, and is read again. */
  outdate() {
    this.#outdated = true;
  }

  async #see(look) {
    let seen;
    try {
      do {
        this.#outdated = false;
        seen = await this.read();
      } while (this.#outdated && look === this.#newest);
    } catch (error) {
      if (look === this.#newest) throw error;
    }
    return look === this.#newest ? this.take(seen) : this.#newest.taken;
  }
}

/**
 * Read what is known of a conversation: {about, queue}. Its messages go into the thread at once, since a message stays what
 * it is. `waits()` tells whether something waits there as far as is known here, `isOver(run)` whether a run has ended.
 */
export async function readConversation(client, id, { thread, waits, isOver }) {
  for (let read = 1; ; read += 1) {
    const seen = await readOnce(client, id, thread, waits);
    const { about, queue } = seen;
    // Its answers are of different moments: where they belie each other, something happened between them.
    const agree = (about.waiting ?? 0) === queue.length && !isOver(about.active_run);
    if (agree || read === MOST_READS) return seen;
  }
}

async function readOnce(client, id, thread, waits) {
  const newest = () => client.messages(id, { limit: thread.loaded ? NEWEST : PAGE, order: "newest" });
  const [about, first] = await Promise.all([client.conversation(id), newest()]);
  const missed = about.head && !thread.get(about.head) && first.items.every((message) => message.id !== about.head);
  const page = missed ? await newest() : first;
  if (thread.loaded) await fillGap(client, id, thread, page, about.head);
  else thread.open(page);
  const queue = about.waiting || waits() ? (await client.queue(id)).items : [];
  return { about, queue };
}

/** Take in the newest messages, and those between them and what is here already. */
async function fillGap(client, id, thread, newest, head) {
  const { last } = thread;
  let page = newest;
  thread.add(page.items);
  while (page.next_cursor && (page.items.at(-1).id > last || thread.lacks(head))) {
    page = await client.messages(id, { limit: GAP, cursor: page.next_cursor, order: "newest" });
    thread.add(page.items);
  }
  if (newest.items.length) thread.last = newest.items[0].id;
}
