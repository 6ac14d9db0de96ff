/** The messages of a conversation: a tree, of which one branch is shown. */
export class Thread {
  constructor() {
    this.messages = new Map();
    this.children = new Map(); // by parent's id, "" for those that begin the conversation
    this.head = null;
    this.cursor = null; // where older messages go on; null when all are here
    this.first = ""; // all from this one up to `last` have been read
    this.last = "";
    this.loaded = false;
  }

  /** Begin with the newest messages, a page of them. */
  open(page) {
    this.last = page.items[0]?.id ?? "";
    this.loaded = true;
    this.extend(page);
  }

  /** Take in a page of older messages. */
  extend({ items, next_cursor: cursor }) {
    this.add(items);
    this.cursor = cursor;
    this.first = cursor === null ? "" : items.at(-1)?.id ?? this.first;
  }

  /** Take messages in; one that is there already keeps its place on the page. */
  add(messages) {
    for (const message of messages) {
      const known = this.messages.get(message.id);
      // Where it was supposed to stand may have been wrong.
      if (known) this.#siblings(known).delete(known.id);
      const kept = Object.assign(known ?? { parent: null, run: null }, message);
      this.messages.set(kept.id, kept);
      this.#siblings(kept).add(kept.id);
    }
  }

  /** Take in a message that was said here, until the server tells where it stands. */
  suppose(message) {
    const known = this.messages.get(message.id);
    if (known) known.key = message.key;
    else this.add([message]);
  }

  get(id) {
    return this.messages.get(id);
  }

  /** The shown branch as far as it is loaded, oldest first; up to `last` when given. */
  branch(last = this.head) {
    const found = [];
    for (let at = this.messages.get(last); at; at = this.messages.get(at.parent)) found.push(at);
    return found.reverse();
  }

  /** Whether the branch up to a message has a gap that is not before what was read. */
  lacks(head) {
    const [first] = this.branch(head);
    const missing = first ? first.parent : head;
    return Boolean(missing) && missing >= this.first;
  }

  /** Whether the shown branch goes further back than what is loaded. */
  get goesOn() {
    const first = this.branch()[0];
    return Boolean(first?.parent) && this.cursor !== null;
  }

  /** The versions of a message, oldest first. Only complete when what they follow is loaded. */
  siblings(id) {
    const parent = this.messages.get(id)?.parent;
    if (parent ? !this.messages.has(parent) : this.cursor !== null) return [id];
    return this.#versions(parent ?? "", id);
  }

  /**
   * What follows a message, without what was taken back while the answer beside it was written: said during that
   * answer's run, and followed by nothing. `own` is there whatever it is.
   */
  #versions(parent, own = null) {
    const ids = this.#followers(parent);
    const answers = ids.map((id) => this.messages.get(id)).filter(({ role, run }) => role === "assistant" && run);
    const begun = answers.map(({ run }) => born(run)).sort()[0];
    if (!begun) return ids;
    return ids.filter((id) => id === own || this.messages.get(id).role === "assistant" || this.#followers(id).length || born(id) < begun);
  }

  /** The newest end of the branch that runs through a message. */
  leaf(id) {
    let at = id;
    for (let next = this.#versions(at); next.length; next = this.#versions(at)) at = next.at(-1);
    return at;
  }

  /** An answer to a message, the newest one. */
  answerTo(id) {
    return this.#followers(id).findLast((child) => this.messages.get(child).role === "assistant") ?? null;
  }

  /** Ids are in the order of time. */
  #followers(id) {
    return [...(this.children.get(id) ?? [])].sort();
  }

  #siblings({ parent }) {
    const key = parent ?? "";
    if (!this.children.has(key)) this.children.set(key, new Set());
    return this.children.get(key);
  }
}

/** An id without its kind: the earlier it was made, the smaller it is. */
function born(id) {
  return id.slice(id.indexOf("_") + 1);
}

/** The words of a message, without reasoning and tools. */
export function plainText(message) {
  return (message.parts ?? [])
    .filter((part) => part.type === "text" || part.type === "refusal")
    .map((part) => part.text)
    .join("\n\n");
}
